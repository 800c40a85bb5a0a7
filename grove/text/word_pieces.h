// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A WordPiece vocabulary and the greedy cut of one word into its longest pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace grove {

inline constexpr std::string_view kContinuationPrefix = "##";  // marks a piece that does not begin a word

class WordPieces {
 public:
  // `tokens` by id; an empty string is an id without a token. No token may occur twice.
  explicit WordPieces(const std::vector<std::string>& tokens);

  std::optional<int32_t> Find(std::string_view token) const;

  struct Piece {
    int32_t id;
    size_t end;  // byte in the word where the piece ends
  };
  // Appends the pieces of `word`, each the longest that fits from the left. False, and nothing appended, if some part
  // of it is no piece.
  bool Cut(std::string_view word, std::vector<Piece>* pieces) const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using Map = std::unordered_map<std::string, int32_t, Hash, std::equal_to<>>;

  Map tokens_;         // whole, as they are spelt
  Map continuations_;  // without their prefix
  size_t longest_ = 0;
};

}  // namespace grove
