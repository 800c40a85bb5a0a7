// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A mixture of experts for inference: scores W_r x, the best `per_token` experts, their nets (arXiv 1701.06538 without
// the training noise; arXiv 2101.03961 without a capacity limit).
//
//     y = sum over the chosen e of g_e f_e(x),   f_e of kernels/gated_experts.h, g_e of kernels/score_router.h
//
// Results depend neither on the number of threads nor on the batch.
#pragma once

#include <cstddef>

#include "grove/base/thread_pool.h"
#include "grove/kernels/gated_experts.h"
#include "grove/kernels/score_router.h"
#include "grove/model/dense_product.h"

namespace grove {

struct MixtureShape {
  ExpertsShape experts;
  size_t per_token = 1;  // 1 ... experts
  Gates gates = Gates::kRenormalized;

  ExpertRouterShape router() const { return {.experts = experts.experts, .per_token = per_token, .gates = gates}; }
};

// Views in the checkpoint's layout.
struct MixtureWeights {
  const float* router = nullptr;  // [experts, in_width]
  ExpertsWeights experts;
};

class Mixture {
 public:
  // Copies the weights.
  Mixture(const MixtureShape& shape, const MixtureWeights& weights, const ThreadPool& pool);

  // x [tokens, in_width] -> y [tokens, out_width], overwritten; x and y must not overlap.
  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const;
  size_t bytes() const;

 private:
  MixtureShape shape_;
  DenseProduct router_;
  PackedExperts experts_;
};

// The oracle: scalar, sums in double.
void MixtureReference(const MixtureShape& shape, const MixtureWeights& weights, const float* x, size_t tokens,
                      float* y);

}  // namespace grove
