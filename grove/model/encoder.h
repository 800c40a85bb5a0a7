// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The encoder on raw buffers, fp32. crammedBERT: embedding, then per layer x += attention(norm1(x)) and
// x += feedforward(norm2(x)), then the final norm. BERT and DistilBERT: embedding, then per layer
// x = norm1(x + attention(x)) and x = norm2(x + feedforward(x)). Heads are in heads.h.
//
//   ThreadPool pool(DefaultThreads());
//   GROVE_ASSIGN_OR_RETURN(ModelDirectory directory, ModelDirectory::Open("model"));
//   GROVE_ASSIGN_OR_RETURN(Encoder encoder, Encoder::Load(directory, &pool));
//   GROVE_ASSIGN_OR_RETURN(AlignedArray<float> hidden, encoder.Forward({.ids = ids, .batch = 1, .length =
//   ids.size()}));
//
// Results do not depend on the number of threads. One call at a time per pool.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/result.h"
#include "grove/base/thread_pool.h"
#include "grove/io/model_directory.h"
#include "grove/model/dense_product.h"
#include "grove/model/embedding.h"
#include "grove/model/feed_forward.h"
#include "grove/model/layer_norm.h"

namespace grove {

// Sequences of equal length; shorter ones are padded at their end and masked there.
struct TokenBatch {
  std::span<const int32_t> ids;        // [batch, length]
  std::span<const uint8_t> mask = {};  // [batch, length]: 1 token, 0 padding; empty: all are tokens
  // [batch, length]: first or second text of a pair, below the model's token_types; empty: all 0
  std::span<const uint8_t> types = {};
  size_t batch = 0;
  size_t length = 0;
};

class Encoder {
 public:
  // Copies the weights. `pool` must outlive the encoder.
  static Result<Encoder> Load(const ModelDirectory& directory, ThreadPool* pool);
  static Result<Encoder> Load(const ParameterSource& source, const ModelConfig& config, ThreadPool* pool);

  const ModelConfig& config() const { return config_; }
  ThreadPool& pool() const { return *pool_; }
  const AlignedArray<float>& word_embedding() const { return embedding_.words(); }  // [vocabulary, width]

  // hidden [batch, length, width]; values at padding have no meaning of their own. An error if the batch is longer than
  // the model's limit or has an id outside the vocabulary.
  Result<AlignedArray<float>> Forward(const TokenBatch& batch) const;

 private:
  struct Layer {
    LayerNorm attention_norm;
    DenseProduct query_key_value;
    DenseProduct attention_out;
    std::optional<LayerNorm> feed_forward_norm;  // absent with kind kNone, as is the layer itself
    std::unique_ptr<FeedForward> feed_forward;
  };

  Encoder(ModelConfig config, ThreadPool* pool, Embedding embedding)
      : config_(std::move(config)), pool_(pool), embedding_(std::move(embedding)) {}
  static Result<Layer> LoadLayer(const ParameterSource& source, int64_t index, const ModelConfig& config,
                                 const ThreadPool& pool);
  void RunLayer(const Layer& layer, const TokenBatch& batch, float* hidden, float* normed, float* mixed,
                float* qkv) const;
  Status Check(const TokenBatch& batch) const;

  ModelConfig config_;
  ThreadPool* pool_;
  Embedding embedding_;
  std::vector<Layer> layers_;
  std::optional<LayerNorm> final_norm_;
};

}  // namespace grove
