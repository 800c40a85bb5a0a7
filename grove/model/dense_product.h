// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// y = act(x W^T + b), the dense product of all layers, by oneDNN. It is also the dense baseline that tree layers are
// measured against: weights are packed once in the layout the library likes best, primitives are kept, bias and
// activation are fused.
//
//   DenseProduct product({.in = 768, .out = 3072, .activation = DenseActivation::kGelu}, weights, nullptr, pool);
//   product.Forward(x, tokens, y, pool);
//
// oneDNN runs on one thread in each worker of our pool and starts none of its own. Rows are cut at fixed places, so
// that results do not depend on the number of threads. With AVX-512 they do not depend on the batch either; on older
// machines the library may sum in another order where fewer rows than a block of 128 are left.
#pragma once

#include <cstddef>
#include <memory>

#include "grove/base/thread_pool.h"

namespace grove {

enum class DenseActivation { kGelu, kNone, kRelu };

struct DenseShape {
  size_t in = 0;
  size_t out = 0;
  DenseActivation activation = DenseActivation::kNone;
};

class DenseProduct {
 public:
  // `weights` [out, in] as in checkpoints, `bias` [out] or null; both copied. Columns are cut for the threads of
  // `pool`.
  DenseProduct(const DenseShape& shape, const float* weights, const float* bias, const ThreadPool& pool);
  DenseProduct(DenseProduct&&) noexcept;
  DenseProduct& operator=(DenseProduct&&) noexcept;
  ~DenseProduct();

  const DenseShape& shape() const;
  // x [rows, in] -> y [rows, out], overwritten; x and y must not overlap.
  void Forward(const float* x, size_t rows, float* y, ThreadPool& pool) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace grove
