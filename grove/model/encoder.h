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
// A sequence has the same result in any batch, on any number of threads. One call at a time per pool.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/arena.h"
#include "grove/base/function_ref.h"
#include "grove/base/result.h"
#include "grove/base/thread_pool.h"
#include "grove/io/model_directory.h"
#include "grove/model/dense_product.h"
#include "grove/model/embedding.h"
#include "grove/model/feed_forward.h"
#include "grove/model/layer_norm.h"
#include "grove/model/token_batch.h"

namespace grove {

struct EncoderOptions {
  // Of weights and inputs of dense products, of neuron trees that their own logits route and of a leaf tree's leaves;
  // of the word embedding too. None: the one that its weights are stored in.
  std::optional<Precision> precision = {};
  // Told before every feedforward layer what enters it, x [tokens, width] without padding. For measurements; empty:
  // nobody is told.
  std::function<void(int64_t layer, const float* x, size_t tokens)> observe = {};
  // A batch of more tokens goes through the model in parts of whole sequences, each by all threads. 0: as many as stay
  // in the caches, and each part by one thread where there are enough sequences for all; more, and all threads
  // together, where a layer's weights are more than the caches hold.
  size_t tokens_at_once = 0;
};

class Encoder {
 public:
  // Copies the weights. `pool` must outlive the encoder.
  static Result<Encoder> Load(const ModelDirectory& directory, ThreadPool* pool, const EncoderOptions& options = {});
  static Result<Encoder> Load(const ParameterSource& source, const ModelConfig& config, ThreadPool* pool,
                              const EncoderOptions& options = {});

  const ModelConfig& config() const { return config_; }
  Precision precision() const { return *options_.precision; }
  ThreadPool& pool() const { return *pool_; }
  const Embedding& embedding() const { return embedding_; }

  // hidden [batch, length, width], 0 at padding, which is not computed. An error if the batch is longer than the
  // model's limit or has an id outside the vocabulary. With the same `arena` and a batch no larger than before, dense
  // layers allocate nothing.
  Status Forward(const TokenBatch& batch, Arena& arena, float* hidden) const;
  // The same, telling `observe` the hidden vectors [tokens, width] of all tokens, packed, after the embedding and after
  // each layer (before the final norm, if the model has one).
  using Observer = FunctionRef<void(const float* hidden, size_t size)>;
  Status Forward(const TokenBatch& batch, Arena& arena, float* hidden, Observer observe) const;
  // The same with memory of its own.
  Result<AlignedArray<float>> Forward(const TokenBatch& batch) const;

 private:
  struct Layer {
    LayerNorm attention_norm;
    DenseProduct query_key_value;
    DenseProduct attention_out;
    std::optional<LayerNorm> feed_forward_norm;  // absent with kind kNone, as is the layer itself
    std::unique_ptr<FeedForward> feed_forward;
  };

  // Hidden vectors between layers and what one layer needs beside them.
  struct Buffers;

  Encoder(ModelConfig config, const EncoderOptions& options, ThreadPool* pool, Embedding embedding)
      : config_(std::move(config)), options_(options), pool_(pool), embedding_(std::move(embedding)) {}
  Result<Layer> LoadLayer(const ParameterSource& source, int64_t index) const;
  Status Check(const TokenBatch& batch) const;
  Status Run(const TokenBatch& batch, Arena& arena, float* hidden, const Observer* observe) const;
  void RunShares(const PackedTokens& tokens, const Shares& shares, float* hidden) const;
  void RunParts(const PackedTokens& tokens, size_t most, Arena& arena, float* hidden, const Observer* observe) const;
  void RunLayers(const PackedTokens& tokens, Arena& arena, float* hidden, ThreadPool& pool,
                 const Observer* observe) const;
  void RunAttention(const Layer& layer, const PackedTokens& tokens, const Buffers& buffers) const;
  void RunLayer(size_t index, const PackedTokens& tokens, const Buffers& buffers, Arena& arena) const;
  const LayerNorm* NormBefore(size_t index) const;
  size_t TokensOfThread() const;
  bool HasHeavyLayers() const;

  ModelConfig config_;
  EncoderOptions options_;  // with a precision
  ThreadPool* pool_;
  Embedding embedding_;
  std::vector<Layer> layers_;
  std::optional<LayerNorm> final_norm_;
};

}  // namespace grove
