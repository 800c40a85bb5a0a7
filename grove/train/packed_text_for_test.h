// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Packed text for tests: sentences over twenty made-up words in which the odd word decides the even one.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "grove/data/pack_text.h"
#include "grove/io/files.h"

namespace grove::train {

inline std::string PairedWords(int documents, unsigned seed) {
  std::string text;
  unsigned state = seed;
  for (int document = 0; document < documents; ++document) {
    for (int pair = 0; pair < 30; ++pair) {
      state = state * 1664525u + 1013904223u;
      const char letter = static_cast<char>('a' + (state >> 24) % 10);
      text += std::string("x") + letter + " y" + letter + " ";
    }
    text += "\n\n";
  }
  return text;
}

// Writes vocabulary, text and the packed folder.
inline void WritePackedText(const std::string& folder) {
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (const char* side : {"x", "y"}) {
    for (char letter = 'a'; letter < 'k'; ++letter) vocabulary += side + std::string(1, letter) + "\n";
  }
  ASSERT_TRUE(WriteTextFile(folder + "-vocab.txt", vocabulary).ok());
  ASSERT_TRUE(WriteTextFile(folder + "-train.txt", PairedWords(60, 1)).ok());
  ASSERT_TRUE(WriteTextFile(folder + "-valid.txt", PairedWords(6, 2)).ok());
  const auto packed = PackText({.texts = {folder + "-train.txt"},
                                .valid_texts = {folder + "-valid.txt"},
                                .tokenizer = folder + "-vocab.txt",
                                .output = folder},
                               {});
  ASSERT_TRUE(packed.ok()) << packed.error().message();
}

}  // namespace grove::train
