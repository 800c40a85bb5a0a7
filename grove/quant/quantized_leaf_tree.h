// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Leaf trees in bf16 or int8, decisions and leaves: a token is rounded once for both.
//
//   const QuantizedLeafTree tree{QuantizedLeafRouter(router_shape, router_weights, Quantization::kInt8),
//                                QuantizedExperts(leaves_shape, leaves_weights, Quantization::kInt8)};  // at load
//   LeafTreeForward(tree, x, tokens, y, pool);
#pragma once

#include <cstddef>

#include "grove/base/thread_pool.h"
#include "grove/quant/quantized_experts.h"
#include "grove/quant/quantized_router.h"

namespace grove {

struct QuantizedLeafTree {
  QuantizedLeafRouter router;
  QuantizedExperts leaves;  // in the same precision: router.shape().trees x leaves() of them
};

// x [tokens, in_width] -> y [tokens, out_width], overwritten; x and y must not overlap. The same bits in any batch and
// on any number of threads, in int8 on every instruction set.
void LeafTreeForward(const QuantizedLeafTree& tree, const float* x, size_t tokens, float* y, ThreadPool& pool);

// The oracle: the same roundings, sums in double.
void LeafTreeReference(const LeafRouterShape& shape, const LeafRouterWeights& router, const ExpertsShape& experts,
                       const ExpertsWeights& leaves, Quantization precision, const float* x, size_t tokens, float* y);

}  // namespace grove
