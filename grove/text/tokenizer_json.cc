// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <optional>
#include <unordered_map>

#include "grove/io/json.h"
#include "grove/text/tokenizer_definition.h"
#include "grove/text/unicode.h"
#include "grove/text/word_pieces.h"

namespace grove {
namespace {

using Json = nlohmann::json;

// Ids may leave gaps, but not so many that a short file claims much memory.
constexpr size_t kMaxUnusedIds = 65536;

// Reads the keys of one object of a file; `where` is its place, "" for the root or "model." for what is in "model".
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string name, std::string where)
      : object_(object), name_(std::move(name)), where_(std::move(where)) {}

  Error Wrong(const std::string& key, const std::string& should) const {
    return Error(ErrorCode::kCorrupt, name_ + ": \"" + where_ + key + "\" " + should + "; correct it");
  }

  // Null if the key is absent or null.
  const Json* Find(const std::string& key) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  Status ReadBool(const std::string& key, bool* value) const {
    const Json* json = Find(key);
    if (json == nullptr) return Ok{};
    if (!json->is_boolean()) return Wrong(key, "must be true or false");
    *value = json->get<bool>();
    return Ok{};
  }

  Status ReadString(const std::string& key, std::string* value) const {
    const Json* json = Find(key);
    if (json == nullptr) return Ok{};
    if (!json->is_string()) return Wrong(key, "must be a string");
    *value = json->get<std::string>();
    return Ok{};
  }

  Status ReadCount(const std::string& key, size_t* value) const {
    const Json* json = Find(key);
    if (json == nullptr) return Ok{};
    if (!json->is_number_unsigned()) return Wrong(key, "must be a whole number from 0");
    *value = json->get<size_t>();
    return Ok{};
  }

  // The component `key` must be of this type.
  Status RequireType(const std::string& key, const std::string& type) const {
    const Json* json = Find(key);
    std::string found = "none";
    if (json != nullptr) GROVE_RETURN_IF_ERROR(ObjectReader(*json, name_, key + ".").ReadString("type", &found));
    if (found == type) return Ok{};
    return Error(ErrorCode::kUnsupported, name_ + ": the " + key + " is of type " + found + ", but only " + type +
                                              " is supported; use the tokenizer of a BERT model");
  }

 private:
  const Json& object_;
  std::string name_, where_;
};

Status ReadNormalizer(const Json& root, const std::string& name, TokenizerOptions* options) {
  const ObjectReader file(root, name, "");
  GROVE_RETURN_IF_ERROR(file.RequireType("normalizer", "BertNormalizer"));
  GROVE_RETURN_IF_ERROR(file.RequireType("pre_tokenizer", "BertPreTokenizer"));
  const ObjectReader normalizer(*file.Find("normalizer"), name, "normalizer.");
  GROVE_RETURN_IF_ERROR(normalizer.ReadBool("clean_text", &options->clean_text));
  GROVE_RETURN_IF_ERROR(normalizer.ReadBool("handle_chinese_chars", &options->handle_chinese_chars));
  GROVE_RETURN_IF_ERROR(normalizer.ReadBool("lowercase", &options->lowercase));
  if (normalizer.Find("strip_accents") != nullptr) {
    bool strip_accents = false;
    GROVE_RETURN_IF_ERROR(normalizer.ReadBool("strip_accents", &strip_accents));
    options->strip_accents = strip_accents;
  }
  return Ok{};
}

Status ReadVocabulary(const ObjectReader& model, size_t added, std::vector<std::string>* tokens) {
  const Json* vocabulary = model.Find("vocab");
  if (vocabulary == nullptr || !vocabulary->is_object()) return model.Wrong("vocab", "must map tokens to ids");
  const size_t limit = vocabulary->size() + added + kMaxUnusedIds;
  for (const auto& [token, id] : vocabulary->items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= limit) {
      return model.Wrong("vocab",
                         "gives \"" + token + "\" an id that is no whole number below " + std::to_string(limit));
    }
    if (token.empty()) continue;  // no text has it
    const size_t index = id.get<size_t>();
    if (index >= tokens->size()) tokens->resize(index + 1);
    if (!(*tokens)[index].empty()) {
      return model.Wrong(
          "vocab", "gives \"" + (*tokens)[index] + "\" and \"" + token + "\" the same id " + std::to_string(index));
    }
    (*tokens)[index] = token;
  }
  return Ok{};
}

Status ReadModel(const Json& root, const std::string& name, TokenizerDefinition* definition) {
  const ObjectReader file(root, name, "");
  GROVE_RETURN_IF_ERROR(file.RequireType("model", "WordPiece"));
  const ObjectReader model(*file.Find("model"), name, "model.");
  std::string prefix(kContinuationPrefix);
  GROVE_RETURN_IF_ERROR(model.ReadString("continuing_subword_prefix", &prefix));
  if (prefix != kContinuationPrefix) {
    return Error(ErrorCode::kUnsupported, name + ": pieces inside a word begin with \"" + prefix +
                                              "\", but only \"##\" is supported; use the tokenizer of a BERT model");
  }
  GROVE_RETURN_IF_ERROR(model.ReadString("unk_token", &definition->unknown));
  GROVE_RETURN_IF_ERROR(model.ReadCount("max_input_chars_per_word", &definition->options.max_word_characters));
  const Json* added = file.Find("added_tokens");
  return ReadVocabulary(model, added == nullptr ? 0 : added->size(), &definition->tokens);
}

Status ReadAddedTokens(const Json& root, const std::string& name, TokenizerDefinition* definition) {
  const ObjectReader file(root, name, "");
  const Json* list = file.Find("added_tokens");
  if (list == nullptr) return Ok{};
  if (!list->is_array()) return file.Wrong("added_tokens", "must be a list");
  std::unordered_map<std::string, size_t> known;
  for (size_t id = 0; id < definition->tokens.size(); ++id) known.emplace(definition->tokens[id], id);
  std::unordered_map<size_t, std::string> beyond;  // ids that the model leaves unused
  const size_t limit = known.size() + list->size() + kMaxUnusedIds;
  for (const Json& json : *list) {
    const ObjectReader reader(json, name, "added_tokens.");
    AddedToken token;
    size_t id = limit;
    token.special = false;
    GROVE_RETURN_IF_ERROR(reader.ReadString("content", &token.content));
    GROVE_RETURN_IF_ERROR(reader.ReadCount("id", &id));
    GROVE_RETURN_IF_ERROR(reader.ReadBool("special", &token.special));
    token.normalized = !token.special;
    GROVE_RETURN_IF_ERROR(reader.ReadBool("single_word", &token.single_word));
    GROVE_RETURN_IF_ERROR(reader.ReadBool("lstrip", &token.lstrip));
    GROVE_RETURN_IF_ERROR(reader.ReadBool("rstrip", &token.rstrip));
    GROVE_RETURN_IF_ERROR(reader.ReadBool("normalized", &token.normalized));
    if (token.content.empty()) return reader.Wrong("content", "must be a string with at least one character");
    if (id >= limit) return reader.Wrong("id", "of \"" + token.content + "\" is missing or far beyond the others");
    const auto found = known.find(token.content);
    const bool used = id < definition->tokens.size() && !definition->tokens[id].empty();
    if (found == known.end() ? used || !beyond.emplace(id, token.content).second : found->second != id) {
      return reader.Wrong("id", "of \"" + token.content + "\" contradicts the vocabulary");
    }
    token.id = static_cast<int32_t>(id);
    definition->added.push_back(std::move(token));
  }
  return Ok{};
}

// One element of a template: the name of the special token or sequence, and its type id. Nothing if malformed.
struct TemplatePart {
  bool special;
  std::string id;
  uint64_t type_id;
  bool operator==(const TemplatePart&) const = default;
};

std::optional<TemplatePart> ReadTemplatePart(const Json& json) {
  if (!json.is_object() || json.size() != 1) return std::nullopt;
  const std::string kind = json.begin().key();
  const Json& value = json.begin().value();
  if ((kind != "SpecialToken" && kind != "Sequence") || !value.is_object()) return std::nullopt;
  const auto id = value.find("id"), type_id = value.find("type_id");
  if (id == value.end() || !id->is_string() || type_id == value.end() || !type_id->is_number_unsigned()) {
    return std::nullopt;
  }
  return TemplatePart{kind == "SpecialToken", id->get<std::string>(), type_id->get<uint64_t>()};
}

std::vector<TemplatePart> ReadTemplate(const Json* json) {
  std::vector<TemplatePart> parts;
  if (json == nullptr || !json->is_array()) return parts;
  for (const Json& element : *json) {
    std::optional<TemplatePart> part = ReadTemplatePart(element);
    if (!part) return {};
    parts.push_back(*std::move(part));
  }
  return parts;
}

// Whether the post-processor's idea of a special token's id is the vocabulary's.
Status CheckSpecialId(const ObjectReader& reader, const TokenizerDefinition& definition, const std::string& token,
                      const Json& id) {
  if (!id.is_number_unsigned()) return reader.Wrong(token, "must have a whole number as its id");
  const uint64_t value = id.get<uint64_t>();
  bool same = value < definition.tokens.size() && definition.tokens[value] == token;
  for (const AddedToken& added : definition.added) {
    same |= added.content == token && static_cast<uint64_t>(added.id) == value;
  }
  if (!same) return reader.Wrong(token, "has another id than in the vocabulary");
  return Ok{};
}

Status ReadTemplateProcessing(const Json& processor, const std::string& name, TokenizerDefinition* definition) {
  const ObjectReader reader(processor, name, "post_processor.");
  const std::vector<TemplatePart> single = ReadTemplate(reader.Find("single")),
                                  pair = ReadTemplate(reader.Find("pair"));
  std::string cls, sep;
  if (single.size() == 3 && single[0].special && single[2].special) {
    cls = single[0].id;
    sep = single[2].id;
  }
  const TemplatePart a{false, "A", 0}, b{false, "B", 1};
  const TemplatePart begin{true, cls, 0}, end_a{true, sep, 0}, end_b{true, sep, 1};
  if (single != std::vector{begin, a, end_a} || pair != std::vector{begin, a, end_a, b, end_b}) {
    return Error(ErrorCode::kUnsupported, name +
                                              ": the post_processor's template is not [CLS] A [SEP] with the pair "
                                              "[CLS] A [SEP] B [SEP]; use the tokenizer of a BERT model");
  }
  definition->cls = cls;
  definition->sep = sep;
  const Json* specials = reader.Find("special_tokens");
  for (const std::string& token : {cls, sep}) {
    const auto malformed = [&] { return reader.Wrong("special_tokens", "must give \"" + token + "\" one id"); };
    if (specials == nullptr || !specials->is_object() || !specials->contains(token)) return malformed();
    const Json& entry = specials->at(token);
    if (!entry.is_object() || !entry.contains("ids") || !entry.at("ids").is_array() || entry.at("ids").size() != 1) {
      return malformed();
    }
    GROVE_RETURN_IF_ERROR(CheckSpecialId(reader, *definition, token, entry.at("ids").at(0)));
  }
  return Ok{};
}

Status ReadBertProcessing(const Json& processor, const std::string& name, TokenizerDefinition* definition) {
  const ObjectReader reader(processor, name, "post_processor.");
  for (const std::string key : {"cls", "sep"}) {
    const Json* json = reader.Find(key);
    if (json == nullptr || !json->is_array() || json->size() != 2 || !json->at(0).is_string()) {
      return reader.Wrong(key, "must be a list of a token and its id");
    }
    const std::string token = json->at(0).get<std::string>();
    GROVE_RETURN_IF_ERROR(CheckSpecialId(reader, *definition, token, json->at(1)));
    (key == "cls" ? definition->cls : definition->sep) = token;
  }
  return Ok{};
}

Status ReadPostProcessor(const Json& root, const std::string& name, TokenizerDefinition* definition) {
  const ObjectReader file(root, name, "");
  const Json* processor = file.Find("post_processor");
  std::string type;
  if (processor != nullptr) {
    GROVE_RETURN_IF_ERROR(ObjectReader(*processor, name, "post_processor.").ReadString("type", &type));
  }
  if (type == "BertProcessing") return ReadBertProcessing(*processor, name, definition);
  GROVE_RETURN_IF_ERROR(file.RequireType("post_processor", "TemplateProcessing"));
  return ReadTemplateProcessing(*processor, name, definition);
}

}  // namespace

Result<TokenizerDefinition> ParseTokenizerJson(std::string_view text, const std::string& name) {
  GROVE_ASSIGN_OR_RETURN(const Json root, ParseJson(text, name));
  TokenizerDefinition definition;
  GROVE_RETURN_IF_ERROR(ReadNormalizer(root, name, &definition.options));
  GROVE_RETURN_IF_ERROR(ReadModel(root, name, &definition));
  GROVE_RETURN_IF_ERROR(ReadAddedTokens(root, name, &definition));
  GROVE_RETURN_IF_ERROR(ReadPostProcessor(root, name, &definition));
  return definition;
}

Result<TokenizerOptions> ParseTokenizerConfig(std::string_view text, const std::string& name) {
  GROVE_ASSIGN_OR_RETURN(const Json root, ParseJson(text, name));
  const ObjectReader file(root, name, "");
  TokenizerOptions options;
  GROVE_RETURN_IF_ERROR(file.ReadBool("do_lower_case", &options.lowercase));
  GROVE_RETURN_IF_ERROR(file.ReadBool("tokenize_chinese_chars", &options.handle_chinese_chars));
  if (file.Find("strip_accents") != nullptr) {
    bool strip_accents = false;
    GROVE_RETURN_IF_ERROR(file.ReadBool("strip_accents", &strip_accents));
    options.strip_accents = strip_accents;
  }
  return options;
}

}  // namespace grove
