// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The reading side of a folder that PackText wrote (data/pack_text.h): documents as runs of token ids in mapped files.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/io/safetensors.h"

namespace grove {

// One side of the folder, its shards in order.
class PackedDocuments {
 public:
  static Result<PackedDocuments> Open(const std::string& folder, const std::string& side, size_t shards,
                                      size_t vocabulary);

  size_t documents() const { return shards_.empty() ? 0 : shards_.back().first_document + shards_.back().documents(); }
  uint64_t tokens() const { return tokens_; }
  size_t length(size_t document) const;
  // Copies `count` ids of a document from `begin` on.
  void Read(size_t document, size_t begin, size_t count, int64_t* ids) const;

 private:
  struct Shard {
    SafetensorsFile file;
    TensorView tokens;
    std::vector<int64_t> starts;
    size_t first_document;
    size_t documents() const { return starts.size() - 1; }
  };
  const Shard& ShardOf(size_t document) const;

  std::vector<Shard> shards_;
  uint64_t tokens_ = 0;
};

struct PackedText {
  // An error naming the folder and what it lacks when it is no complete packed text.
  static Result<PackedText> Open(const std::string& folder);

  std::string folder;
  std::string tokenizer_path;
  size_t vocabulary = 0;
  nlohmann::ordered_json card;  // data.json
  PackedDocuments train, valid;
};

}  // namespace grove
