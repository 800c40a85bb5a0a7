// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/encoder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "grove/base/check.h"
#include "grove/model/attention.h"
#include "grove/model/layer_parameters.h"
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

Result<Encoder::Layer> Encoder::LoadLayer(const ParameterSource& source, int64_t index, const ModelConfig& config,
                                          const ThreadPool& pool) {
  const LayerNames names = LayerNamesOf(config, index);
  const int64_t width = config.width;
  GROVE_ASSIGN_OR_RETURN(LayerNorm norm1, LayerNorm::Load(source, names.attention_norm, width, config.norm_eps));
  GROVE_ASSIGN_OR_RETURN(const AttentionParameters read, ReadAttention(source, config, index));
  const auto size = static_cast<size_t>(width);
  Layer layer{.attention_norm = std::move(norm1),
              .query_key_value = DenseProduct({.in = size, .out = 3 * size}, read.query_key_value.data(),
                                              read.query_key_value_bias.data(), pool),
              .attention_out = DenseProduct({.in = size, .out = size}, read.out.data(), read.out_bias.data(), pool),
              .feed_forward_norm = {},
              .feed_forward = {}};
  const FeedForwardConfig& feed_forward = config.FeedForwardOf(index);
  if (feed_forward.kind == FeedForwardKind::kNone) return layer;
  GROVE_ASSIGN_OR_RETURN(layer.feed_forward_norm,
                         LayerNorm::Load(source, names.feed_forward_norm, width, config.norm_eps));
  GROVE_ASSIGN_OR_RETURN(layer.feed_forward,
                         LoadFeedForward(source, names.feed_forward, feed_forward, width, index, pool));
  return layer;
}

Result<Encoder> Encoder::Load(const ModelDirectory& directory, ThreadPool* pool) {
  return Load(FileParameters(directory.weights, directory.config), directory.config, pool);
}

Result<Encoder> Encoder::Load(const ParameterSource& source, const ModelConfig& config, ThreadPool* pool) {
  GROVE_ASSIGN_OR_RETURN(Embedding embedding, Embedding::Load(source, config));
  Encoder encoder(config, pool, std::move(embedding));
  for (int64_t i = 0; i < config.layers; ++i) {
    GROVE_ASSIGN_OR_RETURN(Layer layer, LoadLayer(source, i, config, *pool));
    encoder.layers_.push_back(std::move(layer));
  }
  if (config.final_norm) {
    GROVE_ASSIGN_OR_RETURN(encoder.final_norm_,
                           LayerNorm::Load(source, "encoder.final_norm", config.width, config.norm_eps));
  }
  return encoder;
}

Status Encoder::Check(const TokenBatch& batch) const {
  GROVE_CHECK(batch.ids.size() == batch.batch * batch.length);
  GROVE_CHECK(batch.mask.empty() || batch.mask.size() == batch.ids.size());
  GROVE_CHECK(batch.types.empty() || batch.types.size() == batch.ids.size());
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
  const int64_t types = std::max<int64_t>(config_.token_types, 1);
  for (const uint8_t type : batch.types) {
    if (type >= types) {
      return Error(ErrorCode::kInvalidArgument, "the token type " + std::to_string(type) + " is none of the model's " +
                                                    std::to_string(types) + "; they are numbered from 0");
    }
  }
  return Ok{};
}

// normed, mixed [tokens, width] and qkv [tokens, 3 width] are scratch.
void Encoder::RunLayer(const Layer& layer, const TokenBatch& batch, float* hidden, float* normed, float* mixed,
                       float* qkv) const {
  const size_t tokens = batch.ids.size(), width = static_cast<size_t>(config_.width);
  const auto heads = static_cast<size_t>(config_.heads);
  const AttentionShape attention{batch.batch, batch.length, heads, width / heads};
  const bool post_norm = config_.post_norm();
  const float* x = hidden;
  const auto before = [&](const LayerNorm& norm) {
    if (post_norm) return;
    norm.Forward(hidden, tokens, normed, *pool_);
    x = normed;
  };
  const auto add = [&](const float* y, const LayerNorm& norm) {
    AddRows(y, tokens, width, hidden, *pool_);
    if (post_norm) norm.Forward(hidden, tokens, hidden, *pool_);
  };
  before(layer.attention_norm);
  layer.query_key_value.Forward(x, tokens, qkv, *pool_);
  SelfAttention(attention, qkv, batch.mask, mixed, *pool_);
  layer.attention_out.Forward(mixed, tokens, normed, *pool_);
  add(normed, layer.attention_norm);
  if (!layer.feed_forward) return;
  before(*layer.feed_forward_norm);
  layer.feed_forward->Forward(x, batch.ids.data(), tokens, mixed, *pool_);
  add(mixed, *layer.feed_forward_norm);
}

Result<AlignedArray<float>> Encoder::Forward(const TokenBatch& batch) const {
  GROVE_RETURN_IF_ERROR(Check(batch));
  const size_t tokens = batch.ids.size(), width = static_cast<size_t>(config_.width);
  AlignedArray<float> hidden(tokens * width), normed(tokens * width), mixed(tokens * width), qkv(tokens * 3 * width);
  if (tokens == 0) return hidden;
  embedding_.Forward(batch.ids, batch.types, batch.length, hidden.data(), *pool_);
  for (const Layer& layer : layers_) {
    RunLayer(layer, batch, hidden.data(), normed.data(), mixed.data(), qkv.data());
  }
  if (final_norm_) final_norm_->Forward(hidden.data(), tokens, hidden.data(), *pool_);
  return hidden;
}

}  // namespace grove
