// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/data/packed_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "grove/base/check.h"
#include "grove/io/files.h"
#include "grove/io/json.h"

namespace grove {
namespace {

template <class Word>
bool AllBelow(std::span<const std::byte> bytes, size_t limit) {
  for (size_t at = 0; at < bytes.size(); at += sizeof(Word)) {
    Word word;
    std::memcpy(&word, bytes.data() + at, sizeof(Word));
    if (word >= limit) return false;
  }
  return true;
}

Status CheckShard(const std::string& path, const TensorView& tokens, const std::vector<int64_t>& starts,
                  size_t vocabulary) {
  const auto corrupt = [&](const char* what) {
    return Error(ErrorCode::kCorrupt, fmt::format("{} {}; pack the text again with `grove-train data`", path, what));
  };
  if (tokens.shape.size() != 1 || (tokens.dtype != DType::kU16 && tokens.dtype != DType::kU32)) {
    return corrupt("has `tokens` that are not a row of U16 or U32");
  }
  if (starts.empty() || starts.front() != 0 || starts.back() != tokens.shape[0] ||
      !std::is_sorted(starts.begin(), starts.end())) {
    return corrupt("has `document_starts` that do not divide its tokens");
  }
  const bool valid = tokens.dtype == DType::kU16 ? AllBelow<uint16_t>(tokens.bytes, vocabulary)
                                                 : AllBelow<uint32_t>(tokens.bytes, vocabulary);
  if (!valid) return corrupt("has a token beyond the vocabulary");
  return Ok{};
}

// data.json's number at side/key, or an error that names it.
Result<size_t> ReadCount(const nlohmann::ordered_json& card, const std::string& path, const char* side,
                         const char* key) {
  if (card.is_object() && card.contains(side) && card[side].is_object() && card[side].contains(key) &&
      card[side][key].is_number_unsigned()) {
    return card[side][key].get<size_t>();
  }
  return Error(ErrorCode::kCorrupt,
               fmt::format("{} lacks the number \"{}\" of \"{}\"; pack the text again", path, key, side));
}

}  // namespace

Result<PackedDocuments> PackedDocuments::Open(const std::string& folder, const std::string& side, size_t shards,
                                              size_t vocabulary) {
  PackedDocuments documents;
  for (size_t i = 0; i < shards; ++i) {
    const std::string path = fmt::format("{}/{}-{:05}.safetensors", folder, side, i);
    GROVE_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path));
    GROVE_ASSIGN_OR_RETURN(const TensorView tokens, file.Find("tokens"));
    Shape shape;
    GROVE_ASSIGN_OR_RETURN(std::vector<int64_t> starts, file.ReadIntegers("document_starts", &shape));
    GROVE_RETURN_IF_ERROR(CheckShard(path, tokens, starts, vocabulary));
    documents.tokens_ += static_cast<uint64_t>(tokens.shape[0]);
    const size_t first = documents.documents();
    documents.shards_.push_back({std::move(file), tokens, std::move(starts), first});
  }
  return documents;
}

const PackedDocuments::Shard& PackedDocuments::ShardOf(size_t document) const {
  GROVE_DCHECK(document < documents());
  const auto after = std::upper_bound(shards_.begin(), shards_.end(), document,
                                      [](size_t d, const Shard& shard) { return d < shard.first_document; });
  return *(after - 1);
}

size_t PackedDocuments::length(size_t document) const {
  const Shard& shard = ShardOf(document);
  const size_t local = document - shard.first_document;
  return static_cast<size_t>(shard.starts[local + 1] - shard.starts[local]);
}

void PackedDocuments::Read(size_t document, size_t begin, size_t count, int64_t* ids) const {
  const Shard& shard = ShardOf(document);
  const size_t start = static_cast<size_t>(shard.starts[document - shard.first_document]) + begin;
  for (size_t i = 0; i < count; ++i) {
    if (shard.tokens.dtype == DType::kU16) {
      uint16_t word;
      std::memcpy(&word, shard.tokens.bytes.data() + (start + i) * sizeof(word), sizeof(word));
      ids[i] = word;
    } else {
      uint32_t word;
      std::memcpy(&word, shard.tokens.bytes.data() + (start + i) * sizeof(word), sizeof(word));
      ids[i] = word;
    }
  }
}

Result<PackedText> PackedText::Open(const std::string& folder) {
  const std::string path = folder + "/data.json";
  Result<std::string> text = ReadTextFile(path);
  if (!text.ok()) {
    return Error(ErrorCode::kNotFound,
                 folder + " is no packed text: it has no data.json; make it with `grove-train data`");
  }
  GROVE_ASSIGN_OR_RETURN(const auto parsed, ParseJson(text.value(), path));
  PackedText packed;
  packed.folder = folder;
  packed.card = nlohmann::ordered_json::parse(parsed.dump());
  packed.tokenizer_path = folder + "/tokenizer.json";
  if (!packed.card.contains("vocabulary") || !packed.card["vocabulary"].is_number_unsigned()) {
    return Error(ErrorCode::kCorrupt, path + " lacks the number \"vocabulary\"; pack the text again");
  }
  packed.vocabulary = packed.card["vocabulary"].get<size_t>();
  GROVE_ASSIGN_OR_RETURN(const size_t train_shards, ReadCount(packed.card, path, "train", "shards"));
  GROVE_ASSIGN_OR_RETURN(const size_t valid_shards, ReadCount(packed.card, path, "valid", "shards"));
  GROVE_ASSIGN_OR_RETURN(packed.train, PackedDocuments::Open(folder, "train", train_shards, packed.vocabulary));
  GROVE_ASSIGN_OR_RETURN(packed.valid, PackedDocuments::Open(folder, "valid", valid_shards, packed.vocabulary));
  return packed;
}

}  // namespace grove
