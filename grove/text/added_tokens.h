// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Tokens that are found in the text itself before it is cut into words: [MASK], [SEP] and whatever a tokenizer.json
// lists under "added_tokens".
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace grove {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = true;       // left out by Decode()
  bool single_word = false;  // only where no letter or digit touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool normalized = false;   // looked for in the normalized text, not in the raw one
};

// Finds the leftmost, of these the longest, of a set of tokens.
class AddedTokenMatcher {
 public:
  // `content` as the text will spell it (normalized or not). An empty one is never found; of two equal ones, the first.
  void Add(std::u32string content, const AddedToken& token);

  struct Span {
    size_t begin, end;        // [begin, end) in characters of the text; never empty
    const AddedToken* token;  // null: ordinary text
  };
  // Cuts `text` into tokens and the ordinary text between them. Pointers live as long as this object is unchanged.
  std::vector<Span> Cut(std::u32string_view text) const;
  bool empty() const { return tokens_.empty(); }

 private:
  const std::pair<const std::u32string, AddedToken>* LongestAt(std::u32string_view text, size_t begin) const;

  std::map<std::u32string, AddedToken, std::greater<>> tokens_;  // a longer token stands before its own beginning
  std::bitset<256> first_;                                       // low bytes of first characters
};

}  // namespace grove
