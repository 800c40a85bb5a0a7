// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/kernels/leaf_tree.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/leaf_tree_backward-inl.h"

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(LeafTreeBackwardSimd);
}  // namespace

void LeafTreeForward(const PackedLeafTree& weights, const float* x, size_t tokens, float* y, const LeafTreeTrace* trace,
                     ThreadPool& pool) {
  const size_t paths = weights.shape().paths;
  std::vector<uint32_t> leaves(trace ? 0 : tokens * paths);
  std::vector<float> gates(leaves.size());
  const ExpertChoiceBuffers choices =
      trace ? ExpertChoiceBuffers{trace->leaves, trace->gates} : ExpertChoiceBuffers{leaves.data(), gates.data()};
  RouteLeaves(weights.router(), x, tokens, choices, pool);
  GatedExpertsForward(weights.experts(), x, tokens, {choices.chosen, choices.gates, paths}, y, pool);
}

void LeafTreeBackward(const PackedLeafTree& weights, const float* x, const LeafTreeTrace& trace, const float* dy,
                      size_t tokens, const LeafTreeGradients& gradients, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(LeafTreeBackwardSimd)(weights, x, trace, dy, tokens, gradients, pool);
}

}  // namespace grove
#endif  // HWY_ONCE
