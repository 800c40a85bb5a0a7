// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <optional>

#include "grove/base/aligned.h"
#include "grove/base/result.h"
#include "grove/io/model_directory.h"
#include "grove/model/dense_product.h"
#include "grove/model/encoder.h"

namespace grove {

// Scores of all words for a hidden vector. The decoder is the word embedding unless the model stores its own.
class MaskedLmHead {
 public:
  static Result<MaskedLmHead> Load(const ModelDirectory& directory, const Encoder& encoder);
  // hidden [rows, width] -> logits [rows, vocabulary]
  void Forward(const float* hidden, size_t rows, float* logits, ThreadPool& pool) const;

 private:
  explicit MaskedLmHead(DenseProduct decoder) : decoder_(std::move(decoder)) {}
  DenseProduct decoder_;
};

// hidden [batch, length, width] -> pooled [batch, width]. Padding counts, as in the reference. length > 0.
void Pool(PoolerKind kind, const float* hidden, size_t batch, size_t length, size_t width, float* pooled);

// Scores of the classes of a sequence: pool, dense + tanh, linear.
class ClassificationHead {
 public:
  static Result<ClassificationHead> Load(const ModelDirectory& directory, const ThreadPool& pool);
  // hidden [batch, length, width] -> logits [batch, labels]
  void Forward(const float* hidden, size_t batch, size_t length, float* logits, ThreadPool& pool) const;

 private:
  ClassificationHead(PoolerKind pooler, std::optional<DenseProduct> dense, DenseProduct linear)
      : pooler_(pooler), dense_(std::move(dense)), linear_(std::move(linear)) {}
  PoolerKind pooler_;
  std::optional<DenseProduct> dense_;
  DenseProduct linear_;
};

// Scores of the classes of every token: one linear layer.
class TokenClassificationHead {
 public:
  static Result<TokenClassificationHead> Load(const ModelDirectory& directory, const ThreadPool& pool);
  // hidden [rows, width] -> logits [rows, labels]
  void Forward(const float* hidden, size_t rows, float* logits, ThreadPool& pool) const;

 private:
  explicit TokenClassificationHead(DenseProduct linear) : linear_(std::move(linear)) {}
  DenseProduct linear_;
};

}  // namespace grove
