// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The first half of BERT's tokenizer: clean up characters, then cut the text into words. Every character remembers
// which characters of the original text it stands for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace grove {

struct TokenizerOptions {
  bool lowercase = true;
  std::optional<bool> strip_accents = {};  // unset: as lowercase
  bool clean_text = true;                  // drop control characters, make every white space a blank
  bool handle_chinese_chars = true;        // a word of its own for every CJK ideograph
  size_t max_word_characters = 100;        // longer words become [UNK]

  bool StripAccents() const { return strip_accents.value_or(lowercase); }
};

struct NormalizedCharacter {
  char32_t character;
  uint32_t begin, end;  // [begin, end) in code points of the original text
};

// Appends the normalized form of `text`, whose first character is number `first` of the original text. In the order of
// the Hugging Face BertNormalizer: clean, surround ideographs by blanks, decompose and drop accents, lower case.
void Normalize(std::u32string_view text, uint32_t first, const TokenizerOptions& options,
               std::vector<NormalizedCharacter>* out);

// The same without positions.
std::u32string Normalize(std::u32string_view text, const TokenizerOptions& options);

// Where the first word at or after `begin` lies, as BertPreTokenizer cuts: a run without white space and punctuation,
// or one punctuation character. An empty word at the end of the text: there is none.
struct Word {
  size_t begin = 0, end = 0;
};
Word NextWord(std::span<const NormalizedCharacter> text, size_t begin);

}  // namespace grove
