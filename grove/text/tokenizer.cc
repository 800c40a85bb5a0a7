// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <span>
#include <unordered_set>
#include <utility>

#include "grove/io/files.h"
#include "grove/text/unicode.h"

namespace grove {
namespace {

using Characters = std::span<const NormalizedCharacter>;

// Cuts words into pieces and appends them with the original characters they stand for.
class PieceWriter {
 public:
  PieceWriter(const WordPieces& pieces, size_t max_word_characters, int32_t unknown_id, Encoding* out)
      : pieces_(pieces), max_word_characters_(max_word_characters), unknown_id_(unknown_id), out_(out) {}

  void AddToken(int32_t id, size_t begin, size_t end) {
    out_->ids.push_back(id);
    out_->offsets.push_back({begin, end});
  }

  void AddText(Characters text) {
    for (Word word = NextWord(text, 0); word.begin < word.end; word = NextWord(text, word.end)) {
      AddWord(text.subspan(word.begin, word.end - word.begin));
    }
  }

 private:
  void AddWord(Characters word) {
    bytes_.clear();
    ends_.clear();
    found_.clear();
    if (word.size() <= max_word_characters_) {
      for (const NormalizedCharacter& c : word) {
        AppendUtf8(c.character, &bytes_);
        ends_.push_back(bytes_.size());
      }
      pieces_.Cut(bytes_, &found_);
    }
    if (found_.empty()) AddToken(unknown_id_, word.front().begin, word.back().end);
    size_t character = 0;
    for (const WordPieces::Piece& piece : found_) {
      const size_t first = character;
      while (ends_[character] != piece.end) ++character;
      AddToken(piece.id, word[first].begin, word[character].end);
      ++character;
    }
  }

  const WordPieces& pieces_;
  const size_t max_word_characters_;
  const int32_t unknown_id_;
  Encoding* out_;
  std::string bytes_;         // the word in UTF-8
  std::vector<size_t> ends_;  // where each of its characters ends in bytes_
  std::vector<WordPieces::Piece> found_;
};

Error InvalidUtf8(std::string_view text) {
  size_t at = 0;
  char32_t c;
  while (const size_t length = DecodeUtf8(text.substr(at), &c)) at += length;
  return Error(ErrorCode::kInvalidArgument,
               "the text is not valid UTF-8 at byte " + std::to_string(at) + "; convert it to UTF-8");
}

Status CheckTokens(const std::vector<std::string>& tokens, const std::string& name) {
  std::unordered_set<std::string_view> seen;
  std::u32string scratch;
  const auto wrong = [&](std::string_view what) {
    return Error(ErrorCode::kCorrupt, name + ": the vocabulary " + std::string(what) + "; correct it");
  };
  for (const std::string& token : tokens) {
    if (!DecodeUtf8(token, &scratch)) return wrong("has a token that is not valid UTF-8");
    if (!token.empty() && !seen.insert(token).second) return wrong("has \"" + token + "\" twice");
  }
  return Ok{};
}

void Keep(size_t length, Encoding* encoding) {
  encoding->ids.resize(std::min(length, encoding->ids.size()));
  encoding->offsets.resize(encoding->ids.size());
}

// Lengths of a pair that together are at most `room`: the shorter text is spared while it can be; where both must give,
// the longer one keeps the odd token, the second one if both are equal.
std::pair<size_t, size_t> LongestFirst(size_t a, size_t b, size_t room) {
  if (a + b <= room) return {a, b};
  const bool swap = a > b;
  size_t shorter = std::min(a, b);
  size_t longer = shorter > room ? shorter : std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  return swap ? std::pair{longer, shorter} : std::pair{shorter, longer};
}

void ReplaceAll(std::string_view from, std::string_view to, std::string* text) {
  for (size_t at = 0; (at = text->find(from, at)) != std::string::npos; at += to.size()) {
    text->replace(at, from.size(), to);
  }
}

}  // namespace

Tokenizer::Tokenizer(TokenizerDefinition definition)
    : definition_(std::move(definition)), tokens_(definition_.tokens), pieces_(definition_.tokens) {
  for (const AddedToken& token : definition_.added) {
    const size_t id = static_cast<size_t>(token.id);
    if (id >= tokens_.size()) tokens_.resize(id + 1);
    tokens_[id] = token.content;
    added_ids_.emplace(token.content, token.id);
    special_.resize(std::max(special_.size(), id + 1));
    special_[id] = token.special;
    std::u32string content;
    DecodeUtf8(token.content, &content);
    if (token.normalized) {
      normalized_.Add(Normalize(content, definition_.options), token);
    } else {
      raw_.Add(std::move(content), token);
    }
  }
  special_.resize(tokens_.size());
  mask_id_ = Id("[MASK]");
  pad_id_ = Id("[PAD]");
}

Result<Tokenizer> Tokenizer::FromDefinition(TokenizerDefinition definition, const std::string& name) {
  Tokenizer tokenizer(std::move(definition));
  const TokenizerDefinition& made = tokenizer.definition_;
  for (const auto& [token, id] : {std::pair{&made.unknown, &tokenizer.unknown_id_},
                                  std::pair{&made.cls, &tokenizer.cls_id_}, std::pair{&made.sep, &tokenizer.sep_id_}}) {
    const std::optional<int32_t> found = tokenizer.Id(*token);
    if (!found) {
      return Error(ErrorCode::kCorrupt,
                   name + ": the vocabulary has no " + *token + "; use the tokenizer of a BERT model");
    }
    *id = *found;
  }
  return tokenizer;
}

Result<Tokenizer> Tokenizer::FromJson(std::string_view json, const std::string& name) {
  GROVE_ASSIGN_OR_RETURN(TokenizerDefinition definition, ParseTokenizerJson(json, name));
  return FromDefinition(std::move(definition), name);
}

Result<Tokenizer> Tokenizer::FromVocabulary(std::vector<std::string> tokens, const TokenizerOptions& options,
                                            const std::string& name) {
  GROVE_RETURN_IF_ERROR(CheckTokens(tokens, name));
  return FromDefinition(DefinitionOf(std::move(tokens), options), name);
}

Result<Tokenizer> Tokenizer::Load(const std::string& path) {
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) {
    return Error(ErrorCode::kCorrupt, path + " is empty; give a tokenizer.json or a vocab.txt");
  }
  // A vocabulary whose first token begins with "{" has to be named .txt.
  if (text[first] == '{' && !path.ends_with(".txt")) return FromJson(text, path);
  TokenizerOptions options;
  const std::filesystem::path config = std::filesystem::path(path).parent_path() / "tokenizer_config.json";
  std::error_code ignored;
  if (std::filesystem::exists(config, ignored)) {
    GROVE_ASSIGN_OR_RETURN(const std::string config_text, ReadTextFile(config.string()));
    GROVE_ASSIGN_OR_RETURN(options, ParseTokenizerConfig(config_text, config.string()));
  }
  GROVE_ASSIGN_OR_RETURN(TokenizerDefinition definition, ParseVocabularyText(text, options, path));
  return FromDefinition(std::move(definition), path);
}

std::optional<int32_t> Tokenizer::Id(std::string_view token) const {
  if (const std::optional<int32_t> id = pieces_.Find(token)) return id;
  const auto found = added_ids_.find(std::string(token));
  return found == added_ids_.end() ? std::nullopt : std::optional(found->second);
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < special_.size() && special_[static_cast<size_t>(id)];
}

Status Tokenizer::Append(std::string_view text, Encoding* out) const {
  if (text.size() > std::numeric_limits<uint32_t>::max()) {
    return Error(ErrorCode::kInvalidArgument, "the text has more than 4 GiB; give it in parts");
  }
  std::u32string characters;
  if (!DecodeUtf8(text, &characters)) return InvalidUtf8(text);
  PieceWriter writer(pieces_, options().max_word_characters, unknown_id_, out);
  std::vector<NormalizedCharacter> normalized;
  std::u32string plain;
  for (const AddedTokenMatcher::Span& span : raw_.Cut(characters)) {
    if (span.token != nullptr) {
      writer.AddToken(span.token->id, span.begin, span.end);
      continue;
    }
    normalized.clear();
    Normalize(std::u32string_view(characters).substr(span.begin, span.end - span.begin),
              static_cast<uint32_t>(span.begin), options(), &normalized);
    if (normalized_.empty()) {
      writer.AddText(normalized);
      continue;
    }
    plain.clear();
    for (const NormalizedCharacter& c : normalized) plain.push_back(c.character);
    for (const AddedTokenMatcher::Span& part : normalized_.Cut(plain)) {
      const Characters part_text = Characters(normalized).subspan(part.begin, part.end - part.begin);
      if (part.token != nullptr) {
        writer.AddToken(part.token->id, part_text.front().begin, part_text.back().end);
      } else {
        writer.AddText(part_text);
      }
    }
  }
  return Ok{};
}

Status Tokenizer::Truncate(const EncodeOptions& options, Encoding* a, Encoding* b) const {
  if (options.max_length == 0) return Ok{};
  const size_t special = !options.add_special_tokens ? 0 : b == nullptr ? 2 : 3;
  if (options.max_length < special) {
    return Error(ErrorCode::kInvalidArgument, "a length of " + std::to_string(options.max_length) +
                                                  " has no room for the " + std::to_string(special) +
                                                  " special tokens; raise it");
  }
  // Texts longer than the whole limit count as equally long. The package does this where the two texts are encoded, and
  // so truncated, before they are joined (post_process), which is how our golden files were made; its encode(a, b)
  // joins first, and then the longer of two such texts gets the odd token.
  Keep(options.max_length, a);
  if (b != nullptr) Keep(options.max_length, b);
  const size_t room = options.max_length - special;
  const auto [keep_a, keep_b] = LongestFirst(a->ids.size(), b == nullptr ? 0 : b->ids.size(), room);
  Keep(b == nullptr ? room : keep_a, a);
  if (b != nullptr) Keep(keep_b, b);
  return Ok{};
}

Result<Encoding> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  Encoding tokens;
  GROVE_RETURN_IF_ERROR(Append(text, &tokens));
  GROVE_RETURN_IF_ERROR(Truncate(options, &tokens, nullptr));
  if (options.add_special_tokens) {
    tokens.ids.insert(tokens.ids.begin(), cls_id_);
    tokens.ids.push_back(sep_id_);
    tokens.offsets.insert(tokens.offsets.begin(), TokenOffset{});
    tokens.offsets.push_back({});
  }
  tokens.type_ids.assign(tokens.ids.size(), 0);
  return tokens;
}

Result<Encoding> Tokenizer::EncodePair(std::string_view a, std::string_view b, const EncodeOptions& options) const {
  Encoding first, second, result;
  GROVE_RETURN_IF_ERROR(Append(a, &first));
  GROVE_RETURN_IF_ERROR(Append(b, &second));
  GROVE_RETURN_IF_ERROR(Truncate(options, &first, &second));
  const auto add = [&](int32_t id) {
    result.ids.push_back(id);
    result.offsets.push_back({});
  };
  const auto add_all = [&](const Encoding& part, int32_t type_id) {
    result.ids.insert(result.ids.end(), part.ids.begin(), part.ids.end());
    result.offsets.insert(result.offsets.end(), part.offsets.begin(), part.offsets.end());
    if (options.add_special_tokens) add(sep_id_);
    result.type_ids.resize(result.ids.size(), type_id);
  };
  if (options.add_special_tokens) add(cls_id_);
  add_all(first, 0);
  add_all(second, 1);
  return result;
}

std::string Tokenizer::Decode(const std::vector<int32_t>& ids, bool skip_special_tokens) const {
  // The clean-up of the package, which it applies to each token with its blank.
  static constexpr std::pair<std::string_view, std::string_view> kCleanUp[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  std::string text;
  bool first = true;
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= tokens_.size() || Token(id).empty()) continue;
    if (skip_special_tokens && IsSpecial(id)) continue;
    std::string token = Token(id);
    if (!first) {
      if (token.starts_with(kContinuationPrefix)) {
        token.erase(0, kContinuationPrefix.size());
      } else {
        token.insert(0, 1, ' ');
      }
    }
    first = false;
    for (const auto& [from, to] : kCleanUp) ReplaceAll(from, to, &token);
    text += token;
  }
  return text;
}

}  // namespace grove
