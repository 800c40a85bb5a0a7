// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/text/word_pieces.h"

#include <algorithm>

#include "grove/base/check.h"

namespace grove {

WordPieces::WordPieces(const std::vector<std::string>& tokens) {
  tokens_.reserve(tokens.size());
  continuations_.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string& token = tokens[id];
    if (token.empty()) continue;
    GROVE_CHECK(tokens_.emplace(token, static_cast<int32_t>(id)).second);
    longest_ = std::max(longest_, token.size());
    if (token.starts_with(kContinuationPrefix) && token.size() > kContinuationPrefix.size()) {
      continuations_.emplace(token.substr(kContinuationPrefix.size()), static_cast<int32_t>(id));
    }
  }
}

std::optional<int32_t> WordPieces::Find(std::string_view token) const {
  const auto found = tokens_.find(token);
  return found == tokens_.end() ? std::nullopt : std::optional(found->second);
}

bool WordPieces::Cut(std::string_view word, std::vector<Piece>* pieces) const {
  const size_t before = pieces->size();
  for (size_t begin = 0; begin < word.size();) {
    const Map& map = begin == 0 ? tokens_ : continuations_;
    size_t length = std::min(word.size() - begin, longest_);
    auto found = map.end();
    // A length that ends inside a character finds nothing: tokens are whole characters.
    while (length > 0 && (found = map.find(word.substr(begin, length))) == map.end()) --length;
    if (length == 0) {
      pieces->resize(before);
      return false;
    }
    begin += length;
    pieces->push_back({found->second, begin});
  }
  return true;
}

}  // namespace grove
