// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/kernels/gated_experts.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/gated_experts-inl.h"

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(GatedExpertsForwardSimd);
}  // namespace

PackedExperts::PackedExperts(const ExpertsShape& shape, const ExpertsWeights& weights)
    : shape_(shape),
      hidden_row_(RoundUpToLine<float>(shape.hidden_width)),
      out_row_(RoundUpToLine<float>(shape.out_width)),
      w1_(PaddedCopy(weights.w1, shape.experts * shape.in_width, shape.hidden_width)),
      b1_(PaddedCopy(weights.b1, shape.experts, shape.hidden_width)),
      w2_(PaddedCopy(weights.w2, shape.experts * shape.hidden_width, shape.out_width)),
      b2_(PaddedCopy(weights.b2, shape.experts, shape.out_width)) {}

void GatedExpertsForward(const PackedExperts& experts, const float* x, size_t tokens, const ExpertChoices& choices,
                         float* y, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(GatedExpertsForwardSimd)(experts, x, tokens, choices, y, pool);
}

}  // namespace grove
#endif  // HWY_ONCE
