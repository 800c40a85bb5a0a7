// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/kernels/leaf_router.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/leaf_router-inl.h"

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(RouteLeavesSimd);
}  // namespace

PackedLeafRouter::PackedLeafRouter(const LeafRouterShape& shape, const LeafRouterWeights& weights)
    : shape_(shape),
      row_(RoundUpToLine<float>(shape.width)),
      nodes_(PaddedCopy(weights.weights, shape.trees * shape.decisions(), shape.width)),
      biases_(shape.trees * shape.decisions()) {
  std::copy_n(weights.biases, biases_.size(), biases_.data());
}

void RouteLeaves(const PackedLeafRouter& router, const float* x, size_t tokens, const ExpertChoiceBuffers& choices,
                 ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(RouteLeavesSimd)(router, x, tokens, choices, pool);
}

}  // namespace grove
#endif  // HWY_ONCE
