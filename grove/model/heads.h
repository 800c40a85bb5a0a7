// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <optional>

#include "grove/base/aligned.h"
#include "grove/base/result.h"
#include "grove/io/model_config.h"
#include "grove/io/parameters.h"
#include "grove/model/dense_product.h"
#include "grove/model/encoder.h"
#include "grove/model/layer_norm.h"
#include "grove/model/token_batch.h"

namespace grove {

// Scores of all words for a hidden vector: logits = W norm(act(T hidden)) + b, where crammedBERT has neither transform
// T nor norm. The decoder W is the word embedding unless the model stores its own.
class MaskedLmHead {
 public:
  static Result<MaskedLmHead> Load(const ParameterSource& source, const Encoder& encoder);
  // hidden [rows, width] -> logits [rows, vocabulary]
  void Forward(const float* hidden, size_t rows, float* logits, ThreadPool& pool) const;

 private:
  explicit MaskedLmHead(DenseProduct decoder) : decoder_(std::move(decoder)) {}
  std::optional<DenseProduct> transform_;
  std::optional<LayerNorm> norm_;  // with the transform
  DenseProduct decoder_;
};

// hidden [batch, length, width] -> pooled [batch, width]. Padding counts, as in the reference, but not for the mean.
// length > 0.
void Pool(PoolerKind kind, const float* hidden, const TokenBatch& batch, size_t width, float* pooled);

// The pooler of a BERT without a head: tanh(dense(first token)).
class FirstTokenPooler {
 public:
  static Result<FirstTokenPooler> Load(const ParameterSource& source, const Encoder& encoder);
  // hidden [batch, length, width] -> pooled [batch, width]
  void Forward(const float* hidden, const TokenBatch& batch, float* pooled, ThreadPool& pool) const;

 private:
  explicit FirstTokenPooler(DenseProduct dense) : dense_(std::move(dense)) {}
  DenseProduct dense_;
};

// Scores of the classes of a sequence: pool, dense, tanh (DistilBERT: ReLU), linear.
class ClassificationHead {
 public:
  static Result<ClassificationHead> Load(const ParameterSource& source, const Encoder& encoder);
  // hidden [batch, length, width] -> logits [batch, labels]
  void Forward(const float* hidden, const TokenBatch& batch, float* logits, ThreadPool& pool) const;

 private:
  ClassificationHead(const ModelConfig& config, std::optional<DenseProduct> dense, DenseProduct linear)
      : pooler_(config.head.pooler),
        relu_(config.family == ModelFamily::kDistilBert),
        dense_(std::move(dense)),
        linear_(std::move(linear)) {}
  PoolerKind pooler_;
  bool relu_;
  std::optional<DenseProduct> dense_;
  DenseProduct linear_;
};

// Scores of the classes of every token: one linear layer.
class TokenClassificationHead {
 public:
  static Result<TokenClassificationHead> Load(const ParameterSource& source, const Encoder& encoder);
  // hidden [rows, width] -> logits [rows, labels]
  void Forward(const float* hidden, size_t rows, float* logits, ThreadPool& pool) const;

 private:
  explicit TokenClassificationHead(DenseProduct linear) : linear_(std::move(linear)) {}
  DenseProduct linear_;
};

}  // namespace grove
