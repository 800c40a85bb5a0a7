// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What a tokenizer.json or vocab.txt says, and the reading and writing of both. Use it through Tokenizer (tokenizer.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "grove/base/result.h"
#include "grove/text/added_tokens.h"
#include "grove/text/normalizer.h"

namespace grove {

struct TokenizerDefinition {
  TokenizerOptions options;
  std::vector<std::string> tokens;  // of the WordPiece model, by id, none twice; an empty string is an unused id
  std::vector<AddedToken> added;    // one that the model has bears the same id; others have ids that it leaves unused
  std::string unknown = "[UNK]", cls = "[CLS]", sep = "[SEP]";
};

// A WordPiece model with BertNormalizer, BertPreTokenizer and the template [CLS] A [SEP] or [CLS] A [SEP] B [SEP];
// anything else is kUnsupported. "truncation", "padding" and "decoder" are not read: EncodeOptions and the batch
// decide.
Result<TokenizerDefinition> ParseTokenizerJson(std::string_view json, const std::string& name);

// One token a line; an empty line is an unused id. `options` are not in the file.
Result<TokenizerDefinition> ParseVocabularyText(std::string_view text, const TokenizerOptions& options,
                                                const std::string& name);

// Takes the tokens of a vocabulary in order of their ids; those of [PAD] [UNK] [CLS] [SEP] [MASK] in it are special.
TokenizerDefinition DefinitionOf(std::vector<std::string> tokens, const TokenizerOptions& options);

// The keys do_lower_case, strip_accents and tokenize_chinese_chars of a tokenizer_config.json, which the Hugging Face
// libraries write beside a vocab.txt.
Result<TokenizerOptions> ParseTokenizerConfig(std::string_view json, const std::string& name);

// tokenizer.json of Hugging Face `tokenizers`, tokens in order of their ids.
std::string TokenizerJson(const TokenizerDefinition& definition);

}  // namespace grove
