// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/text/tokenizer_definition.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "grove/text/unicode.h"
#include "grove/text/word_pieces.h"

namespace grove {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 5> kSpecialTokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

Json AddedTokensJson(const TokenizerDefinition& definition) {
  Json list = Json::array();
  for (const AddedToken& token : definition.added) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", token.single_word},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

Json NormalizerJson(const TokenizerOptions& options) {
  Json json = {{"type", "BertNormalizer"},
               {"clean_text", options.clean_text},
               {"handle_chinese_chars", options.handle_chinese_chars},
               {"strip_accents", nullptr},
               {"lowercase", options.lowercase}};
  if (options.strip_accents) json["strip_accents"] = *options.strip_accents;
  return json;
}

int32_t IdOf(const TokenizerDefinition& definition, const std::string& token) {
  for (const AddedToken& added : definition.added) {
    if (added.content == token) return added.id;
  }
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (definition.tokens[id] == token) return static_cast<int32_t>(id);
  }
  return -1;
}

Json PostProcessorJson(const TokenizerDefinition& definition) {
  const auto part = [](const char* kind, const std::string& id, int type_id) {
    return Json{{kind, {{"id", id}, {"type_id", type_id}}}};
  };
  const Json cls = part("SpecialToken", definition.cls, 0), a = part("Sequence", "A", 0),
             end_a = part("SpecialToken", definition.sep, 0), b = part("Sequence", "B", 1),
             end_b = part("SpecialToken", definition.sep, 1);
  Json specials = Json::object();
  for (const std::string& token : {definition.cls, definition.sep}) {
    specials[token] = {
        {"id", token}, {"ids", Json::array({IdOf(definition, token)})}, {"tokens", Json::array({token})}};
  }
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({cls, a, end_a})},
          {"pair", Json::array({cls, a, end_a, b, end_b})},
          {"special_tokens", specials}};
}

}  // namespace

Result<TokenizerDefinition> ParseVocabularyText(std::string_view text, const TokenizerOptions& options,
                                                const std::string& name) {
  std::vector<std::string> tokens;
  std::unordered_map<std::string_view, size_t> lines;
  std::u32string scratch;
  const auto wrong = [&](size_t line, const std::string& what) {
    return Error(ErrorCode::kCorrupt, name + ": line " + std::to_string(line) + " " + what);
  };
  while (!text.empty()) {
    const size_t length = text.find('\n');
    std::string_view line = text.substr(0, length);
    text.remove_prefix(length == std::string_view::npos ? text.size() : length + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    tokens.emplace_back(line);
    if (!DecodeUtf8(line, &scratch)) return wrong(tokens.size(), "is not valid UTF-8; convert the file");
    if (line.empty()) continue;
    const auto [found, inserted] = lines.emplace(line, tokens.size());
    if (!inserted) {
      return wrong(tokens.size(), "repeats line " + std::to_string(found->second) + "; every token must have one id");
    }
  }
  while (!tokens.empty() && tokens.back().empty()) tokens.pop_back();
  if (tokens.empty()) return Error(ErrorCode::kCorrupt, name + " has no tokens; it must be one token a line");
  return DefinitionOf(std::move(tokens), options);
}

TokenizerDefinition DefinitionOf(std::vector<std::string> tokens, const TokenizerOptions& options) {
  TokenizerDefinition definition;
  definition.options = options;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (std::find(kSpecialTokens.begin(), kSpecialTokens.end(), tokens[id]) == kSpecialTokens.end()) continue;
    AddedToken token;
    token.content = tokens[id];
    token.id = static_cast<int32_t>(id);
    definition.added.push_back(std::move(token));
  }
  definition.tokens = std::move(tokens);
  return definition;
}

std::string TokenizerJson(const TokenizerDefinition& definition) {
  Json model = {{"type", "WordPiece"},
                {"unk_token", definition.unknown},
                {"continuing_subword_prefix", kContinuationPrefix},
                {"max_input_chars_per_word", definition.options.max_word_characters}};
  const Json root = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", AddedTokensJson(definition)},
                     {"normalizer", NormalizerJson(definition.options)},
                     {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                     {"post_processor", PostProcessorJson(definition)},
                     {"decoder", {{"type", "WordPiece"}, {"prefix", kContinuationPrefix}, {"cleanup", true}}},
                     {"model", std::move(model)}};
  std::string text = root.dump(2);
  // The vocabulary goes in by hand: an ordered_json object searches all its keys at every insertion.
  std::string vocabulary = ",\n    \"vocab\": {";
  const char* separator = "\n";
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (definition.tokens[id].empty()) continue;
    vocabulary += separator + ("      " + Json(definition.tokens[id]).dump()) + ": " + std::to_string(id);
    separator = ",\n";
  }
  vocabulary += "\n    }";
  text.insert(text.rfind("\n  }\n}"), vocabulary);
  return text + "\n";
}

}  // namespace grove
