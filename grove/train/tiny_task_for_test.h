// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A tiny untrained model with its tokenizer, and tasks over a dozen words that it learns in a second.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "grove/data/sequences.h"
#include "grove/io/files.h"
#include "grove/nn/parameters.h"
#include "grove/nn/text_model.h"
#include "grove/train/finetune_options.h"

namespace grove::train::test {

inline const std::vector<std::string> kPlainWords = {"the", "film", "was", "rather", "long", "and", "loud", "again"};

inline ModelConfig TinyConfig() {
  ModelConfig config;
  config.vocabulary = 24;
  config.width = 32;
  config.layers = 1;
  config.heads = 2;
  config.max_length = 24;
  config.feed_forward = {.kind = FeedForwardKind::kLeafTree, .depth = 2, .leaf_width = 8, .paths = 2};
  return config;
}

inline void WriteTinyModel(const std::string& folder, const ModelConfig& config = TinyConfig()) {
  std::filesystem::create_directories(folder);
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (const std::string& word : kPlainWords) vocabulary += word + "\n";
  for (const char* word : {"good", "bad", "ann", "bob", "rome", "##s", "film2", "1"})
    vocabulary += word + std::string("\n");
  ASSERT_TRUE(WriteTextFile(folder + "/vocab.txt", vocabulary).ok());
  torch::manual_seed(1);
  ASSERT_TRUE(nn::SaveModel(*nn::MakeTextModel(config, {}), config, folder, {}).ok());
}

// Plain words, `count` of them.
inline std::vector<std::string> SomeWords(KeyedRandom& random, size_t count) {
  std::vector<std::string> words;
  while (words.size() < count) words.push_back(kPlainWords[random.Below(kPlainWords.size())]);
  return words;
}

inline std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// `sentence<TAB>label`: one word among three to eight says which of two labels.
inline std::string OpinionRows(int rows, uint64_t seed, const char* negative = "0", const char* positive = "1") {
  KeyedRandom random(seed);
  std::string text = "sentence\tlabel\n";
  for (int i = 0; i < rows; ++i) {
    std::vector<std::string> words = SomeWords(random, 3 + random.Below(6));
    const bool good = random.Below(2) == 1;
    words[random.Below(words.size())] = good ? "good" : "bad";
    text += Joined(words) + "\t" + (good ? positive : negative) + "\n";
  }
  return text;
}

inline FinetuneOptions TinyOptions(const std::string& model, const std::string& output) {
  FinetuneOptions options;
  options.model = model;
  options.output = output;
  options.learning_rate = 3e-3;
  options.pooler_width = 32;
  options.device = "cpu";
  options.epochs = 6;
  return options;
}

}  // namespace grove::train::test
