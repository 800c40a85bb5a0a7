// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/text/normalizer.h"

#include <algorithm>

#include "grove/text/unicode.h"

namespace grove {
namespace {

using Characters = std::vector<NormalizedCharacter>;

// Before this character nothing decomposes, nothing is an accent, and lower case is ASCII's.
constexpr char32_t kFirstAccented = 0xC0;

// Appends; returns whether a character from kFirstAccented on was met.
bool CleanAndSpace(std::u32string_view text, uint32_t first, const TokenizerOptions& options, Characters* out) {
  bool accented = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char32_t c = text[i];
    const uint32_t begin = first + static_cast<uint32_t>(i), end = begin + 1;
    if (options.clean_text) {
      if (IsControl(c)) continue;
      if (IsWhitespace(c)) c = ' ';
    }
    accented |= c >= kFirstAccented;
    if (options.handle_chinese_chars && IsChinese(c)) {
      out->insert(out->end(), {{' ', begin, end}, {c, begin, end}, {' ', begin, end}});
    } else {
      out->push_back({c, begin, end});
    }
  }
  return accented;
}

// Canonical decomposition and ordering of the characters from `start` on, then without their non-spacing marks. The
// package takes the n-th unit (the first part of a decomposed character) to stand for the n-th original character, also
// where ordering has moved a mark in front of another; further parts stand for the original character last taken.
void DropAccents(size_t start, Characters* text) {
  struct Part {
    char32_t character;
    int combining_class;
    bool further;
  };
  std::vector<Part> parts;
  std::u32string decomposed;
  size_t run = 0;  // where the marks begin that follow the last character of class 0
  const auto sort_run = [&] {
    std::stable_sort(parts.begin() + static_cast<ptrdiff_t>(run), parts.end(),
                     [](const Part& a, const Part& b) { return a.combining_class < b.combining_class; });
  };
  for (size_t i = start; i < text->size(); ++i) {
    decomposed.clear();
    AppendDecomposed((*text)[i].character, &decomposed);
    for (size_t j = 0; j < decomposed.size(); ++j) {
      const int combining_class = CombiningClass(decomposed[j]);
      if (combining_class == 0) sort_run();
      parts.push_back({decomposed[j], combining_class, j > 0});
      if (combining_class == 0) run = parts.size();
    }
  }
  sort_run();

  Characters kept;
  size_t next = start;
  for (const Part& part : parts) {
    if (!part.further) ++next;
    if (IsNonspacingMark(part.character)) continue;
    const NormalizedCharacter& origin = (*text)[next == start ? start : next - 1];
    kept.push_back({part.character, origin.begin, origin.end});
  }
  text->resize(start);
  text->insert(text->end(), kept.begin(), kept.end());
}

void LowercaseAscii(size_t start, Characters* text) {
  for (size_t i = start; i < text->size(); ++i) {
    char32_t& c = (*text)[i].character;
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  }
}

void Lowercase(size_t start, Characters* text) {
  std::u32string lower;
  Characters result;
  for (size_t i = start; i < text->size(); ++i) {
    const NormalizedCharacter& from = (*text)[i];
    lower.clear();
    AppendLowercase(from.character, &lower);
    for (const char32_t c : lower) result.push_back({c, from.begin, from.end});
  }
  text->resize(start);
  text->insert(text->end(), result.begin(), result.end());
}

}  // namespace

void Normalize(std::u32string_view text, uint32_t first, const TokenizerOptions& options, Characters* out) {
  const size_t start = out->size();
  out->reserve(start + text.size());
  const bool accented = CleanAndSpace(text, first, options, out);
  if (accented && options.StripAccents()) DropAccents(start, out);
  if (!options.lowercase) return;
  if (accented) {
    Lowercase(start, out);
  } else {
    LowercaseAscii(start, out);
  }
}

std::u32string Normalize(std::u32string_view text, const TokenizerOptions& options) {
  Characters characters;
  Normalize(text, 0, options, &characters);
  std::u32string result;
  for (const NormalizedCharacter& c : characters) result.push_back(c.character);
  return result;
}

Word NextWord(std::span<const NormalizedCharacter> text, size_t begin) {
  while (begin < text.size() && IsWhitespace(text[begin].character)) ++begin;
  if (begin == text.size()) return {begin, begin};
  size_t end = begin + 1;
  if (IsPunctuation(text[begin].character)) return {begin, end};
  while (end < text.size() && !IsWhitespace(text[end].character) && !IsPunctuation(text[end].character)) ++end;
  return {begin, end};
}

}  // namespace grove
