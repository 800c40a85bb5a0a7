// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Learns a WordPiece vocabulary from text: words are counted, split into characters, and the pair of pieces that occurs
// most often is merged until the vocabulary is full. Ties fall to the lexicographically smaller pair, so that the same
// text gives the same vocabulary.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grove/base/result.h"
#include "grove/text/tokenizer.h"

namespace grove {

struct WordPieceTrainerOptions {
  size_t vocabulary_size = 8192;
  uint64_t min_frequency = 2;  // pairs seen less often are not merged (0 counts as 1)
  size_t max_alphabet = 1000;  // most frequent characters kept; the rest become [UNK]
  TokenizerOptions tokenizer;  // normalization and splitting, as the tokenizer will do them
};

class WordPieceTrainer {
 public:
  explicit WordPieceTrainer(const WordPieceTrainerOptions& options) : options_(options) {}

  // Counts the words of one line or document. An error if it is not valid UTF-8; then nothing of it is counted.
  Status Add(std::string_view text);
  uint64_t words() const { return words_; }

  // [PAD] [UNK] [CLS] [SEP] [MASK], the alphabet, then merged pieces in the order of merging: fewer than asked for if
  // frequent pairs run out. An error if there were no words or the alphabet does not fit. `progress` (may be empty) is
  // told the vocabulary size reached, now and then.
  Result<Tokenizer> Train(const std::function<void(size_t)>& progress) const;

 private:
  WordPieceTrainerOptions options_;
  std::unordered_map<std::string, uint64_t> counts_;
  uint64_t words_ = 0;
};

}  // namespace grove
