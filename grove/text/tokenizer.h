// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// BERT's WordPiece tokenizer: normalize, split, longest-match-first pieces; equal to the Hugging Face `tokenizers`
// package. A Tokenizer does not change once made: threads may share it.
//
//   GROVE_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load("model/tokenizer.json"));
//   GROVE_ASSIGN_OR_RETURN(Encoding e, tokenizer.Encode("Paris is the [MASK] of France."));
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grove/base/result.h"
#include "grove/text/added_tokens.h"
#include "grove/text/normalizer.h"
#include "grove/text/tokenizer_definition.h"
#include "grove/text/word_pieces.h"

namespace grove {

struct TokenOffset {
  size_t begin = 0, end = 0;  // [begin, end) in Unicode code points of the text given; [0, 0) for [CLS], [SEP]
};

struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;  // 0 for the first text, 1 for the second
  std::vector<TokenOffset> offsets;
};

struct EncodeOptions {
  bool add_special_tokens = true;
  size_t max_length = 0;  // 0: no truncation; else the longer text gives first, special tokens counted
};

class Tokenizer {
 public:
  // By content: a tokenizer.json (WordPiece with BERT normalizer), or a vocab.txt with one token a line, whose options
  // are read from a tokenizer_config.json beside it if there is one. A vocabulary without [MASK] or [PAD] is accepted,
  // one without [UNK], [CLS] and [SEP] is not.
  static Result<Tokenizer> Load(const std::string& path);
  static Result<Tokenizer> FromJson(std::string_view json, const std::string& name);  // the fuzzed entry point
  // `tokens` by id; no two alike.
  static Result<Tokenizer> FromVocabulary(std::vector<std::string> tokens, const TokenizerOptions& options,
                                          const std::string& name);

  // An error if the text is not valid UTF-8, or if max_length has no room for the special tokens.
  Result<Encoding> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  Result<Encoding> EncodePair(std::string_view a, std::string_view b, const EncodeOptions& options = {}) const;
  // Joins pieces ("play", "##ing" -> "playing") with WordPiece clean-up of spaces before punctuation. Ids outside the
  // vocabulary are left out.
  std::string Decode(const std::vector<int32_t>& ids, bool skip_special_tokens = true) const;

  size_t vocabulary_size() const { return tokens_.size(); }  // largest id + 1
  const std::string& Token(int32_t id) const { return tokens_[static_cast<size_t>(id)]; }
  std::optional<int32_t> Id(std::string_view token) const;
  bool IsSpecial(int32_t id) const;
  int32_t unknown_id() const { return unknown_id_; }
  int32_t cls_id() const { return cls_id_; }
  int32_t sep_id() const { return sep_id_; }
  std::optional<int32_t> mask_id() const { return mask_id_; }
  std::optional<int32_t> pad_id() const { return pad_id_; }
  const TokenizerOptions& options() const { return definition_.options; }

  // tokenizer.json text that Hugging Face `tokenizers` loads and that encodes identically.
  std::string ToJson() const { return TokenizerJson(definition_); }

 private:
  explicit Tokenizer(TokenizerDefinition definition);
  static Result<Tokenizer> FromDefinition(TokenizerDefinition definition, const std::string& name);

  // Appends the tokens of `text`, without special tokens around them.
  Status Append(std::string_view text, Encoding* out) const;
  Status Truncate(const EncodeOptions& options, Encoding* a, Encoding* b) const;

  TokenizerDefinition definition_;
  std::vector<std::string> tokens_;  // by id, those of added tokens too
  WordPieces pieces_;
  std::unordered_map<std::string, int32_t> added_ids_;
  std::vector<bool> special_;           // by id
  AddedTokenMatcher raw_, normalized_;  // looked for before and after normalization
  int32_t unknown_id_ = 0, cls_id_ = 0, sep_id_ = 0;
  std::optional<int32_t> mask_id_, pad_id_;
};

}  // namespace grove
