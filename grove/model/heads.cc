// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/heads.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "grove/base/check.h"
#include "grove/model/row_ops.h"

namespace grove {

Result<MaskedLmHead> MaskedLmHead::Load(const ModelDirectory& directory, const Encoder& encoder) {
  const ModelConfig& config = directory.config;
  const DenseShape shape{.in = static_cast<size_t>(config.width), .out = static_cast<size_t>(config.vocabulary)};
  AlignedArray<float> own, bias;
  if (directory.weights.Has("decoder.weight")) {
    GROVE_ASSIGN_OR_RETURN(own, directory.weights.ReadFloats("decoder.weight", {config.vocabulary, config.width}));
  }
  if (config.head.decoder_bias) {
    GROVE_ASSIGN_OR_RETURN(bias, directory.weights.ReadFloats("decoder.bias", {config.vocabulary}));
  }
  const float* weights = own.data() != nullptr ? own.data() : encoder.word_embedding().data();
  return MaskedLmHead(DenseProduct(shape, weights, bias.data(), encoder.pool()));
}

void MaskedLmHead::Forward(const float* hidden, size_t rows, float* logits, ThreadPool& pool) const {
  decoder_.Forward(hidden, rows, logits, pool);
}

namespace {

void PoolSequence(PoolerKind kind, const float* hidden, size_t length, size_t width, float* pooled) {
  std::copy_n(hidden, width, pooled);
  if (kind == PoolerKind::kFirstToken) return;
  if (kind == PoolerKind::kAverage) {
    for (size_t t = 1; t < length; ++t) AddInto(hidden + t * width, width, pooled);
    for (size_t i = 0; i < width; ++i) pooled[i] /= static_cast<float>(length);
    return;
  }
  for (size_t t = 1; t < length; ++t) {
    for (size_t i = 0; i < width; ++i) pooled[i] = std::max(pooled[i], hidden[t * width + i]);
  }
  if (kind == PoolerKind::kMax) return;
  // log(sum(exp(x))), the largest x taken out so that nothing overflows.
  for (size_t i = 0; i < width; ++i) {
    float sum = 0;
    for (size_t t = 0; t < length; ++t) sum += std::exp(hidden[t * width + i] - pooled[i]);
    pooled[i] += std::log(sum);
  }
}

}  // namespace

void Pool(PoolerKind kind, const float* hidden, size_t batch, size_t length, size_t width, float* pooled) {
  GROVE_CHECK(length > 0);
  for (size_t b = 0; b < batch; ++b) PoolSequence(kind, hidden + b * length * width, length, width, pooled + b * width);
}

Result<ClassificationHead> ClassificationHead::Load(const ModelDirectory& directory, const ThreadPool& pool) {
  const ModelConfig& config = directory.config;
  const HeadConfig& head = config.head;
  const auto pooled = static_cast<size_t>(head.pooler_width);
  std::optional<DenseProduct> dense;
  if (head.pooler_dense) {
    GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> weight,
                           directory.weights.ReadFloats("pooler.dense.weight", {head.pooler_width, config.width}));
    GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> bias,
                           directory.weights.ReadFloats("pooler.dense.bias", {head.pooler_width}));
    const DenseShape shape{.in = static_cast<size_t>(config.width), .out = pooled};
    dense.emplace(shape, weight.data(), bias.data(), pool);
  }
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> weight,
                         directory.weights.ReadFloats("head.weight", {head.labels, head.pooler_width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> bias, directory.weights.ReadFloats("head.bias", {head.labels}));
  const DenseShape shape{.in = pooled, .out = static_cast<size_t>(head.labels)};
  return ClassificationHead(head.pooler, std::move(dense), DenseProduct(shape, weight.data(), bias.data(), pool));
}

Result<TokenClassificationHead> TokenClassificationHead::Load(const ModelDirectory& directory, const ThreadPool& pool) {
  const int64_t width = directory.config.width, labels = directory.config.head.labels;
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> weight,
                         directory.weights.ReadFloats("head.weight", {labels, width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> bias, directory.weights.ReadFloats("head.bias", {labels}));
  const DenseShape shape{.in = static_cast<size_t>(width), .out = static_cast<size_t>(labels)};
  return TokenClassificationHead(DenseProduct(shape, weight.data(), bias.data(), pool));
}

void TokenClassificationHead::Forward(const float* hidden, size_t rows, float* logits, ThreadPool& pool) const {
  linear_.Forward(hidden, rows, logits, pool);
}

void ClassificationHead::Forward(const float* hidden, size_t batch, size_t length, float* logits,
                                 ThreadPool& pool) const {
  const size_t width = dense_ ? dense_->shape().in : linear_.shape().in;
  AlignedArray<float> pooled(batch * width);
  Pool(pooler_, hidden, batch, length, width, pooled.data());
  if (dense_) {
    AlignedArray<float> activated(batch * linear_.shape().in);
    dense_->Forward(pooled.data(), batch, activated.data(), pool);
    pooled = std::move(activated);
  }
  for (size_t i = 0; i < pooled.size(); ++i) pooled[i] = std::tanh(pooled[i]);
  linear_.Forward(pooled.data(), batch, logits, pool);
}

}  // namespace grove
