// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "grove/base/aligned.h"
#include "grove/base/result.h"
#include "grove/base/thread_pool.h"
#include "grove/base/weights.h"
#include "grove/io/model_config.h"
#include "grove/io/parameters.h"
#include "grove/model/dense_product.h"
#include "grove/model/layer_norm.h"
#include "grove/model/token_batch.h"

namespace grove {

// table [length, width] of Vaswani et al., arXiv 1706.03762, section 3.5: sines in even, cosines in odd columns.
void SinusoidalPositions(size_t length, size_t width, float* table);

// Word embedding + position + token type if the model has types, then LayerNorm if the model has one.
class Embedding {
 public:
  // Words are kept in `precision`, and where the masked-LM head shares them only once, packed for its product; sums are
  // fp32.
  static Result<Embedding> Load(const ParameterSource& source, const ModelConfig& config, Precision precision,
                                const ThreadPool& pool);
  Embedding(Embedding&&) noexcept;
  ~Embedding();

  // Each id in the vocabulary, each type one of the model's, the length at most the model's limit.
  // y [tokens, width].
  void Forward(const PackedTokens& tokens, float* y, ThreadPool& pool) const;
  // What a masked-LM head without a matrix of its own multiplies with.
  DenseProduct WordProduct(const float* bias, const ThreadPool& pool) const;

 private:
  class Positions;
  Embedding();

  size_t width_ = 0;
  DenseShape shape_;                    // of the words as a product
  Weights words_;                       // [vocabulary, width], or empty:
  std::optional<DenseProduct> packed_;  // the same
  AlignedArray<float> types_;           // [token types, width], or empty
  std::unique_ptr<Positions> positions_;
  std::optional<LayerNorm> norm_;
};

}  // namespace grove
