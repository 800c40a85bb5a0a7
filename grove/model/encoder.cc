// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/encoder.h"

#include <string>
#include <utility>

#include "grove/base/check.h"
#include "grove/model/attention.h"
#include "grove/model/row_ops.h"

namespace grove {
namespace {

// y += x over rows of `width`.
void AddRows(const float* x, size_t rows, size_t width, float* y, ThreadPool& pool) {
  pool.ParallelFor(rows, 64, [&](size_t begin, size_t end) {
    AddInto(x + begin * width, (end - begin) * width, y + begin * width);
  });
}

}  // namespace

Result<Encoder::Layer> Encoder::LoadLayer(const SafetensorsFile& file, int64_t index, const ModelConfig& config,
                                          const ThreadPool& pool) {
  const std::string prefix = "encoder.layers." + std::to_string(index) + ".";
  const int64_t width = config.width;
  GROVE_ASSIGN_OR_RETURN(LayerNorm norm1, LayerNorm::Load(file, prefix + "norm1", width, config.norm_eps));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> qkv,
                         file.ReadFloats(prefix + "attn.self_attention.query_key_value.weight", {3 * width, width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> out, file.ReadFloats(prefix + "attn.dense.weight", {width, width}));
  const auto size = static_cast<size_t>(width);
  Layer layer{.attention_norm = std::move(norm1),
              .query_key_value = DenseProduct({.in = size, .out = 3 * size}, qkv.data(), nullptr, pool),
              .attention_out = DenseProduct({.in = size, .out = size}, out.data(), nullptr, pool),
              .feed_forward_norm = {},
              .feed_forward = {}};
  const FeedForwardConfig& feed_forward = config.FeedForwardOf(index);
  if (feed_forward.kind == FeedForwardKind::kNone) return layer;
  GROVE_ASSIGN_OR_RETURN(layer.feed_forward_norm, LayerNorm::Load(file, prefix + "norm2", width, config.norm_eps));
  GROVE_ASSIGN_OR_RETURN(layer.feed_forward, LoadFeedForward(file, prefix + "ffn.", feed_forward, width, index, pool));
  return layer;
}

Result<Encoder> Encoder::Load(const ModelDirectory& directory, ThreadPool* pool) {
  const ModelConfig& config = directory.config;
  if (!config.crammed()) {
    return Error(ErrorCode::kUnsupported, directory.path + " is a " + std::string(ModelFamilyName(config.family)) +
                                              " model, which grove-train reads; grove computes crammedBERT models");
  }
  GROVE_ASSIGN_OR_RETURN(Embedding embedding, Embedding::Load(directory.weights, config));
  Encoder encoder(config, pool, std::move(embedding));
  for (int64_t i = 0; i < config.layers; ++i) {
    GROVE_ASSIGN_OR_RETURN(Layer layer, LoadLayer(directory.weights, i, config, *pool));
    encoder.layers_.push_back(std::move(layer));
  }
  if (config.final_norm) {
    GROVE_ASSIGN_OR_RETURN(encoder.final_norm_,
                           LayerNorm::Load(directory.weights, "encoder.final_norm", config.width, config.norm_eps));
  }
  return encoder;
}

Status Encoder::Check(const TokenBatch& batch) const {
  GROVE_CHECK(batch.ids.size() == batch.batch * batch.length);
  GROVE_CHECK(batch.mask.empty() || batch.mask.size() == batch.ids.size());
  if (batch.length > static_cast<size_t>(config_.max_length)) {
    return Error(ErrorCode::kInvalidArgument, "the input has " + std::to_string(batch.length) +
                                                  " tokens and the model takes at most " +
                                                  std::to_string(config_.max_length) + "; shorten or truncate it");
  }
  for (const int32_t id : batch.ids) {
    if (id < 0 || id >= config_.vocabulary) {
      return Error(ErrorCode::kInvalidArgument,
                   "the token id " + std::to_string(id) + " is outside the model's vocabulary of " +
                       std::to_string(config_.vocabulary) + "; use the tokenizer that belongs to the model");
    }
  }
  return Ok{};
}

Result<AlignedArray<float>> Encoder::Forward(const TokenBatch& batch) const {
  GROVE_RETURN_IF_ERROR(Check(batch));
  const size_t tokens = batch.ids.size(), width = static_cast<size_t>(config_.width);
  const auto heads = static_cast<size_t>(config_.heads);
  const AttentionShape attention{batch.batch, batch.length, heads, width / heads};
  AlignedArray<float> hidden(tokens * width), normed(tokens * width), mixed(tokens * width), qkv(tokens * 3 * width);
  if (tokens == 0) return hidden;
  embedding_.Forward(batch.ids, batch.length, hidden.data(), *pool_);
  for (const Layer& layer : layers_) {
    layer.attention_norm.Forward(hidden.data(), tokens, normed.data(), *pool_);
    layer.query_key_value.Forward(normed.data(), tokens, qkv.data(), *pool_);
    SelfAttention(attention, qkv.data(), batch.mask, mixed.data(), *pool_);
    layer.attention_out.Forward(mixed.data(), tokens, normed.data(), *pool_);
    AddRows(normed.data(), tokens, width, hidden.data(), *pool_);
    if (!layer.feed_forward) continue;
    layer.feed_forward_norm->Forward(hidden.data(), tokens, normed.data(), *pool_);
    layer.feed_forward->Forward(normed.data(), batch.ids.data(), tokens, mixed.data(), *pool_);
    AddRows(mixed.data(), tokens, width, hidden.data(), *pool_);
  }
  if (final_norm_) final_norm_->Forward(hidden.data(), tokens, hidden.data(), *pool_);
  return hidden;
}

}  // namespace grove
