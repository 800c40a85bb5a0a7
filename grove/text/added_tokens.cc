// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/text/added_tokens.h"

#include <algorithm>

#include "grove/text/unicode.h"

namespace grove {
namespace {

bool TouchesWord(std::u32string_view text, size_t begin, size_t end) {
  return (begin > 0 && IsWordCharacter(text[begin - 1])) || (end < text.size() && IsWordCharacter(text[end]));
}

}  // namespace

void AddedTokenMatcher::Add(std::u32string content, const AddedToken& token) {
  if (content.empty()) return;
  first_.set(content[0] & 0xFFu);
  tokens_.emplace(std::move(content), token);
}

const std::pair<const std::u32string, AddedToken>* AddedTokenMatcher::LongestAt(std::u32string_view text,
                                                                                size_t begin) const {
  // Tokens that begin with the same character are neighbours, and few.
  const char32_t c = text[begin];
  if (!first_.test(c & 0xFFu)) return nullptr;
  for (auto it = tokens_.lower_bound(std::u32string(1, c + 1)); it != tokens_.end() && it->first[0] >= c; ++it) {
    if (text.substr(begin).starts_with(it->first)) return &*it;
  }
  return nullptr;
}

std::vector<AddedTokenMatcher::Span> AddedTokenMatcher::Cut(std::u32string_view text) const {
  std::vector<Span> spans;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const auto* match = LongestAt(text, at);
    if (match == nullptr) {
      ++at;
      continue;
    }
    const AddedToken& token = match->second;
    size_t begin = at, end = at + match->first.size();
    at = end;  // a match that is refused below still hides shorter ones inside it, as in the package
    if (token.single_word && TouchesWord(text, begin, end)) continue;
    if (token.lstrip) {
      while (begin > done && IsWhitespace(text[begin - 1])) --begin;
    }
    if (token.rstrip) {
      while (end < text.size() && IsWhitespace(text[end])) ++end;
    }
    begin = std::max(begin, done);
    if (begin >= end) continue;
    if (done < begin) spans.push_back({done, begin, nullptr});
    spans.push_back({begin, end, &token});
    done = end;
  }
  if (done < text.size()) spans.push_back({done, text.size(), nullptr});
  return spans;
}

}  // namespace grove
