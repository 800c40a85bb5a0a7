// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/text/wordpiece_trainer.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace grove {
namespace {

std::vector<std::string> TokensOf(const Tokenizer& tokenizer) {
  std::vector<std::string> tokens;
  for (size_t id = 0; id < tokenizer.vocabulary_size(); ++id)
    tokens.push_back(tokenizer.Token(static_cast<int32_t>(id)));
  return tokens;
}

// Counts every pair anew for every merge: slow, and plainly right.
std::vector<std::string> TrainPlainly(const std::map<std::string, uint64_t>& counts, size_t size,
                                      uint64_t min_frequency) {
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  std::set<std::string> first, later;
  std::vector<std::pair<std::vector<std::string>, uint64_t>> words;
  for (const auto& [word, count] : counts) {
    std::vector<std::string> pieces;
    for (size_t i = 0; i < word.size(); ++i) {
      pieces.push_back((i == 0 ? "" : "##") + word.substr(i, 1));
      (i == 0 ? first : later).insert(pieces.back());
    }
    words.push_back({pieces, count});
  }
  tokens.insert(tokens.end(), first.begin(), first.end());
  tokens.insert(tokens.end(), later.begin(), later.end());
  while (tokens.size() < size) {
    std::map<std::pair<std::string, std::string>, uint64_t> pairs;
    for (const auto& [pieces, count] : words) {
      for (size_t i = 0; i + 1 < pieces.size(); ++i) pairs[{pieces[i], pieces[i + 1]}] += count;
    }
    auto best = pairs.end();
    for (auto it = pairs.begin(); it != pairs.end(); ++it) {
      if (best == pairs.end() || it->second > best->second) best = it;
    }
    if (best == pairs.end() || best->second < min_frequency) break;
    const auto [left, right] = best->first;
    const std::string merged = left + right.substr(2);
    if (std::find(tokens.begin(), tokens.end(), merged) == tokens.end()) tokens.push_back(merged);
    for (auto& [pieces, count] : words) {
      std::vector<std::string> joined;
      for (size_t i = 0; i < pieces.size(); ++i) {
        const bool match = pieces[i] == left && i + 1 < pieces.size() && pieces[i + 1] == right;
        joined.push_back(match ? merged : pieces[i]);
        if (match) ++i;
      }
      pieces = joined;
    }
  }
  return tokens;
}

TEST(WordPieceTrainer, AgreesWithCountingEverythingAnew) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    const uint64_t min_frequency = 1 + random() % 3;
    std::map<std::string, uint64_t> counts;
    WordPieceTrainer trainer({.vocabulary_size = 60, .min_frequency = min_frequency, .tokenizer = {}});
    for (int i = 0; i < 300; ++i) {
      std::string word;
      for (size_t length = 1 + random() % 8; word.size() < length;) word += static_cast<char>('a' + random() % 4);
      ++counts[word];
      ASSERT_TRUE(trainer.Add(word).ok());
    }
    EXPECT_EQ(TokensOf(trainer.Train({}).value()), TrainPlainly(counts, 60, min_frequency)) << round;
  }
}

TEST(WordPieceTrainer, RareCharactersAndRarePairsAreLeftOut) {
  WordPieceTrainer trainer({.vocabulary_size = 100, .min_frequency = 3, .max_alphabet = 3, .tokenizer = {}});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(trainer.Add("aab, ").ok());
  ASSERT_TRUE(trainer.Add("xa ba").ok());
  const Tokenizer tokenizer = trainer.Train({}).value();
  EXPECT_EQ(TokensOf(tokenizer), (std::vector<std::string>{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", "a", "b",
                                                           "##a", "##b", "##ab", "aab"}));
  EXPECT_EQ(tokenizer.Encode("xa", {.add_special_tokens = false}).value().ids, std::vector<int32_t>{1});
  EXPECT_EQ(trainer.words(), 12u);
}

TEST(WordPieceTrainer, WordsAreNormalizedAsTheTokenizerWill) {
  WordPieceTrainer trainer({.vocabulary_size = 30, .min_frequency = 1, .tokenizer = {}});
  ASSERT_TRUE(trainer.Add("Café CAFE\tcafé").ok());
  const Tokenizer tokenizer = trainer.Train({}).value();
  ASSERT_TRUE(tokenizer.Id("cafe").has_value());
  EXPECT_EQ(tokenizer.Encode("CAFÉ", {.add_special_tokens = false}).value().ids,
            std::vector<int32_t>{*tokenizer.Id("cafe")});
  WordPieceTrainer cased({.vocabulary_size = 30, .min_frequency = 1, .tokenizer = {.lowercase = false}});
  ASSERT_TRUE(cased.Add("Café").ok());
  EXPECT_TRUE(cased.Train({}).value().Id("Café").has_value());
}

TEST(WordPieceTrainer, WhatCannotBeTrainedIsAnError) {
  WordPieceTrainer empty({});
  ASSERT_TRUE(empty.Add(" \n").ok());
  EXPECT_FALSE(empty.Train({}).ok());
  EXPECT_FALSE(empty.Add("\xFF").ok());
  WordPieceTrainer small({.vocabulary_size = 10, .tokenizer = {}});
  ASSERT_TRUE(small.Add("abcdefgh").ok());
  const Result<Tokenizer> tokenizer = small.Train({});
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_NE(tokenizer.error().message().find("at least 13"), std::string::npos) << tokenizer.error().message();
}

TEST(WordPieceTrainer, ProgressEndsAtTheSizeReached) {
  WordPieceTrainer trainer({.vocabulary_size = 12, .min_frequency = 1, .tokenizer = {}});
  ASSERT_TRUE(trainer.Add("hello hollow").ok());
  size_t last = 0;
  const Tokenizer tokenizer = trainer.Train([&](size_t size) { last = size; }).value();
  EXPECT_EQ(last, tokenizer.vocabulary_size());
}

}  // namespace
}  // namespace grove
