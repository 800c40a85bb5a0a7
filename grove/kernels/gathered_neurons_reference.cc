// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// To be read beside gathered_neurons.h. Slow on purpose: one token, one neuron at a time.
#include <algorithm>
#include <vector>

#include "grove/kernels/gathered_neurons.h"
#include "grove/kernels/reference_parts.h"

namespace grove {

void GatheredNeuronsReference(const NeuronsShape& shape, const NeuronsWeights& weights, const float* x, size_t tokens,
                              const uint32_t* chosen, const double* gates, size_t per_token, float* y) {
  const bool by_neuron = weights.layout == NeuronsWeights::Out::kByNeuron;
  for (size_t t = 0; t < tokens; ++t) {
    std::vector<double> sum(shape.width);
    for (size_t s = t * per_token; s < (t + 1) * per_token; ++s) {
      const size_t n = chosen[s];
      const double logit = (weights.bias ? weights.bias[n] : 0.0) +
                           reference::Dot(weights.in + n * shape.width, x + t * shape.width, shape.width);
      const double gate = gates ? gates[s] : 1.0;
      for (size_t i = 0; i < shape.width; ++i) {
        const size_t at = by_neuron ? n * shape.width + i : i * shape.neurons + n;
        sum[i] += gate * Activate(shape.activation, logit) * weights.out[at];
        if (shape.two_sided) sum[i] += gate * Activate(shape.activation, -logit) * weights.out_left[at];
      }
    }
    std::copy(sum.begin(), sum.end(), y + t * shape.width);
  }
}

}  // namespace grove
