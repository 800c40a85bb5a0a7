// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/encoder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "grove/base/check.h"
#include "grove/model/layer_parameters.h"
#include "grove/model/projected_attention.h"
#include "grove/model/row_ops.h"

namespace grove {
struct Encoder::Buffers {
  float* hidden;  // [tokens, width]
  float* normed;  // [tokens, width]: what a layer's next part reads; pre-norm only, else hidden
  float* mixed;   // [tokens, width]: what attention gathered
  float* out;     // [tokens, width]: what a part adds to hidden
  ThreadPool* pool;
};

Result<Encoder::Layer> Encoder::LoadLayer(const ParameterSource& source, int64_t index) const {
  const LayerNames names = LayerNamesOf(config_, index);
  const int64_t width = config_.width;
  const Precision precision = *options_.precision;
  GROVE_ASSIGN_OR_RETURN(LayerNorm norm1, LayerNorm::Load(source, names.attention_norm, width, config_.norm_eps));
  GROVE_ASSIGN_OR_RETURN(const AttentionParameters read, ReadAttention(source, config_, index, precision));
  const auto size = static_cast<size_t>(width);
  const DenseShape in{.in = size, .out = 3 * size, .precision = precision};
  const DenseShape out{.in = size, .out = size, .precision = precision};
  Layer layer{
      .attention_norm = std::move(norm1),
      .query_key_value = DenseProduct(in, read.query_key_value.view(), read.query_key_value_bias.data(), *pool_),
      .attention_out = DenseProduct(out, read.out.view(), read.out_bias.data(), *pool_),
      .feed_forward_norm = {},
      .feed_forward = {}};
  const FeedForwardConfig& feed_forward = config_.FeedForwardOf(index);
  if (feed_forward.kind == FeedForwardKind::kNone) return layer;
  GROVE_ASSIGN_OR_RETURN(layer.feed_forward_norm,
                         LayerNorm::Load(source, names.feed_forward_norm, width, config_.norm_eps));
  GROVE_ASSIGN_OR_RETURN(layer.feed_forward,
                         LoadFeedForward(source, names.feed_forward, feed_forward, width, index, *pool_, precision));
  return layer;
}

Result<Encoder> Encoder::Load(const ModelDirectory& directory, ThreadPool* pool, const EncoderOptions& options) {
  return Load(FileParameters(directory.weights, directory.config), directory.config, pool, options);
}

Result<Encoder> Encoder::Load(const ParameterSource& source, const ModelConfig& config, ThreadPool* pool,
                              const EncoderOptions& options) {
  EncoderOptions own = options;
  own.precision = options.precision.value_or(config.weight_precision);
  GROVE_ASSIGN_OR_RETURN(Embedding embedding, Embedding::Load(source, config, *own.precision, *pool));
  Encoder encoder(config, own, pool, std::move(embedding));
  for (int64_t i = 0; i < config.layers; ++i) {
    GROVE_ASSIGN_OR_RETURN(Layer layer, encoder.LoadLayer(source, i));
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

// Pre-norm: the norm that layer `index` begins with, at the end the final one, or null for none.
const LayerNorm* Encoder::NormBefore(size_t index) const {
  if (index < layers_.size()) return &layers_[index].attention_norm;
  return final_norm_ ? &*final_norm_ : nullptr;
}

void Encoder::RunAttention(const Layer& layer, const PackedTokens& tokens, const Buffers& buffers) const {
  const size_t rows = tokens.tokens, width = static_cast<size_t>(config_.width);
  const auto heads = static_cast<size_t>(config_.heads);
  const AttentionShape shape{tokens.sequences, heads, width / heads, precision() == Precision::kInt8};
  // In the same memory, half of which it needs.
  const size_t stride = DenseProduct::NarrowStride(width);
  if (HasNarrowProjection(layer.query_key_value, shape) && stride <= 2 * width) {
    auto* mixed = reinterpret_cast<Bf16*>(buffers.mixed);
    ProjectedAttention(layer.query_key_value, shape, buffers.normed, rows, tokens.is_key, {nullptr, mixed, stride},
                       *buffers.pool);
    return layer.attention_out.ForwardFromNarrow(mixed, stride, rows, buffers.out, width, *buffers.pool);
  }
  ProjectedAttention(layer.query_key_value, shape, buffers.normed, rows, tokens.is_key, {buffers.mixed, nullptr, width},
                     *buffers.pool);
  layer.attention_out.Forward(buffers.mixed, rows, buffers.out, *buffers.pool);
}

// A residual and the norm after it are one pass over the rows. Pre-norm: `normed` holds the norm of the hidden vectors
// when a layer begins.
void Encoder::RunLayer(size_t index, const PackedTokens& tokens, const Buffers& buffers, Arena& arena) const {
  const Layer& layer = layers_[index];
  const size_t rows = tokens.tokens, width = static_cast<size_t>(config_.width);
  RunAttention(layer, tokens, buffers);
  const bool post_norm = config_.post_norm();
  const auto add = [&](const LayerNorm* norm) {
    if (norm != nullptr) return norm->AddForward(buffers.out, rows, buffers.hidden, buffers.normed, *buffers.pool);
    buffers.pool->ParallelFor(rows, 64, [&](size_t begin, size_t end) {
      AddInto(buffers.out + begin * width, (end - begin) * width, buffers.hidden + begin * width);
    });
  };
  const LayerNorm* after = post_norm ? nullptr : NormBefore(index + 1);
  if (!layer.feed_forward) return add(post_norm ? &layer.attention_norm : after);
  add(post_norm ? &layer.attention_norm : &*layer.feed_forward_norm);
  if (options_.observe) options_.observe(static_cast<int64_t>(index), buffers.normed, rows);
  layer.feed_forward->Forward(buffers.normed, tokens.ids, rows, buffers.out, arena, *buffers.pool);
  add(post_norm ? &*layer.feed_forward_norm : after);
}

void Encoder::RunLayers(const PackedTokens& tokens, Arena& arena, float* hidden, ThreadPool& pool,
                        const Observer* observe) const {
  const size_t rows = tokens.tokens, size = rows * static_cast<size_t>(config_.width);
  embedding_.Forward(tokens, hidden, pool);
  const bool post_norm = config_.post_norm();
  Buffers buffers{.hidden = hidden,
                  .normed = post_norm ? hidden : arena.Take<float>(size),
                  .mixed = arena.Take<float>(size),
                  .out = arena.Take<float>(size),
                  .pool = &pool};
  if (observe != nullptr) (*observe)(hidden, size);
  if (!post_norm && NormBefore(0) != nullptr) NormBefore(0)->Forward(hidden, rows, buffers.normed, pool);
  for (size_t i = 0; i < layers_.size(); ++i) {
    RunLayer(i, tokens, buffers, arena);
    if (observe != nullptr) (*observe)(hidden, size);
  }
  if (!post_norm && final_norm_) std::copy_n(buffers.normed, size, hidden);
}

Status Encoder::Forward(const TokenBatch& batch, Arena& arena, float* hidden) const {
  return Run(batch, arena, hidden, nullptr);
}

Status Encoder::Forward(const TokenBatch& batch, Arena& arena, float* hidden, Observer observe) const {
  return Run(batch, arena, hidden, &observe);
}

// A layer's activations of so many tokens stay near their core until the next layer, and are enough for its weights to
// be worth reading.
size_t Encoder::TokensOfThread() const {
  constexpr size_t kBytes = size_t{3} << 19;  // of hidden vectors: 512 tokens of width 768
  return std::max<size_t>(kBytes / sizeof(float) / static_cast<size_t>(config_.width), 64);
}

// Whether a tree or mixture stores more than the caches hold: each share would bring its weights from memory again, and
// few tokens of a share come to each leaf.
bool Encoder::HasHeavyLayers() const {
  constexpr int64_t kCachesHoldBytes = int64_t{32} << 20;
  for (int64_t i = 0; i < config_.layers; ++i) {
    const FeedForwardConfig& layer = config_.FeedForwardOf(i);
    const Precision precision = HasLowPrecision(layer) ? *options_.precision : Precision::kFp32;
    const int64_t bytes = precision == Precision::kFp32 ? 4 : precision == Precision::kBf16 ? 2 : 1;
    if (layer.conditional() && 2 * layer.StoredNeurons() * config_.width * bytes > kCachesHoldBytes) return true;
  }
  return false;
}

// Each share by one thread, with memory that stays with it from call to call.
void Encoder::RunShares(const PackedTokens& tokens, const Shares& shares, float* hidden) const {
  pool_->ParallelFor(shares.first.size(), 1, [&](size_t begin, size_t end) {
    thread_local Arena arena;
    ThreadPool alone(1);
    for (size_t i = begin; i < end; ++i) {
      const Arena::Scope scope(arena);
      const PackedTokens share = PartOf(tokens, shares.first[i], shares.tokens[i], arena);
      const size_t row = tokens.sequences[shares.first[i]].begin;
      RunLayers(share, arena, hidden + row * static_cast<size_t>(config_.width), alone, nullptr);
    }
  });
}

// Parts of at most so many tokens, each by all threads.
void Encoder::RunParts(const PackedTokens& tokens, size_t most, Arena& arena, float* hidden,
                       const Observer* observe) const {
  for (size_t first = 0; first < tokens.sequences.size();) {
    const Arena::Scope scope(arena);
    const PackedTokens part = PartOf(tokens, first, most, arena);
    const size_t row = tokens.sequences[first].begin;
    RunLayers(part, arena, hidden + row * static_cast<size_t>(config_.width), *pool_, observe);
    first += part.sequences.size();
  }
}

Status Encoder::Run(const TokenBatch& batch, Arena& arena, float* hidden, const Observer* observe) const {
  constexpr size_t kLeastShare = 512;  // tokens: fewer are slower where leaves or experts take them
  constexpr size_t kHeavyParts = 8;    // as many tokens as stay in the caches, this many times
  GROVE_RETURN_IF_ERROR(Check(batch));
  if (batch.ids.empty()) return Ok{};
  const Arena::Scope scope(arena);
  const PackedTokens tokens = PackTokens(batch, arena);
  const auto width = static_cast<size_t>(config_.width);
  float* packed = tokens.whole ? hidden : arena.Take<float>(tokens.tokens * width);
  const size_t threads = pool_->threads(), most = TokensOfThread();
  if (observe != nullptr || options_.observe) {  // observers see the whole batch at once
    RunParts(tokens, tokens.tokens, arena, packed, observe);
  } else if (options_.tokens_at_once > 0) {
    RunParts(tokens, options_.tokens_at_once, arena, packed, nullptr);
  } else if (HasHeavyLayers()) {
    RunParts(tokens, most * std::max(threads, kHeavyParts), arena, packed, nullptr);
  } else if (const Shares shares = ShareOut(tokens, threads, kLeastShare, most, arena); !shares.first.empty()) {
    RunShares(tokens, shares, packed);
  } else {
    RunParts(tokens, most * threads, arena, packed, nullptr);
  }
  if (!tokens.whole) Unpack(tokens, batch.batch, packed, width, hidden);
  return Ok{};
}

Result<AlignedArray<float>> Encoder::Forward(const TokenBatch& batch) const {
  Arena arena;
  AlignedArray<float> hidden(batch.ids.size() * static_cast<size_t>(config_.width));
  GROVE_RETURN_IF_ERROR(Forward(batch, arena, hidden.data()));
  return hidden;
}

}  // namespace grove
