// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Characters as the Hugging Face `tokenizers` package (0.23) sees them. Properties come from utf8proc (Unicode 15); the
// package itself mixes three Unicode versions, so short tables of exceptions make every code point agree with it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace grove {

// Decodes the character at the front of `text` (not empty): its length in bytes, or 0 if it is not valid UTF-8
// (truncated, overlong, a surrogate, beyond U+10FFFF).
size_t DecodeUtf8(std::string_view text, char32_t* character);

// False (and `out` unspecified) if `text` is not valid UTF-8.
bool DecodeUtf8(std::string_view text, std::u32string* out);

void AppendUtf8(char32_t character, std::string* out);
std::string EncodeUtf8(std::u32string_view text);

bool IsWhitespace(char32_t c);
bool IsControl(char32_t c);      // dropped by clean_text: Cc, Cf, Co, U+0000, U+FFFD, but not tab and line ends
bool IsPunctuation(char32_t c);  // ASCII punctuation and symbols, Unicode P*
bool IsNonspacingMark(char32_t c);
bool IsChinese(char32_t c);        // a CJK ideograph, by BERT's list of blocks
bool IsWordCharacter(char32_t c);  // the \w of regular expressions

// Both append one or more characters: U+0130 has two in lower case, a Hangul syllable up to three when decomposed.
void AppendLowercase(char32_t c, std::u32string* out);
void AppendDecomposed(char32_t c, std::u32string* out);  // canonical, full
int CombiningClass(char32_t c);

}  // namespace grove
