// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// To be read beside gated_experts.h. Slow on purpose: one token, one expert at a time.
#include <algorithm>
#include <vector>

#include "grove/kernels/reference_parts.h"

namespace grove {

void GatedExpertsReference(const ExpertsShape& shape, const ExpertsWeights& weights, const float* x, size_t tokens,
                           const uint32_t* chosen, const double* gates, size_t per_token, float* y) {
  for (size_t t = 0; t < tokens; ++t) {
    std::vector<double> sum(shape.out_width);
    for (size_t s = t * per_token; s < (t + 1) * per_token; ++s) {
      const reference::ExpertActivity activity =
          reference::RunExpert(shape, weights, x + t * shape.in_width, chosen[s]);
      for (size_t o = 0; o < sum.size(); ++o) sum[o] += gates[s] * activity.output[o];
    }
    std::copy(sum.begin(), sum.end(), y + t * shape.out_width);
  }
}

}  // namespace grove
