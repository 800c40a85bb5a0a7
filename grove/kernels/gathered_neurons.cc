// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/kernels/gathered_neurons.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/gathered_neurons-inl.h"

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(GatheredNeuronsForwardSimd);
}  // namespace

PackedNeurons::PackedNeurons(const NeuronsShape& shape, const NeuronsWeights& weights)
    : shape_(shape),
      row_(RoundUpToLine<float>(shape.width)),
      stride_((shape.two_sided ? 3 : 2) * row_),
      rows_(shape.neurons * stride_),
      bias_(shape.neurons) {
  const bool by_neuron = weights.layout == NeuronsWeights::Out::kByNeuron;
  const size_t width = shape.width, neuron_step = by_neuron ? width : 1, column_step = by_neuron ? 1 : shape.neurons;
  for (size_t n = 0; n < shape.neurons; ++n) {
    float* row = rows_.data() + n * stride_;
    if (weights.bias) bias_[n] = weights.bias[n];
    for (size_t i = 0; i < width; ++i) {
      const size_t at = n * neuron_step + i * column_step;
      row[i] = weights.in[n * width + i];
      row[row_ + i] = weights.out[at];
      if (shape.two_sided) row[2 * row_ + i] = weights.out_left[at];
    }
  }
}

void GatheredNeuronsForward(const PackedNeurons& neurons, const float* x, size_t tokens, const NeuronChoices& choices,
                            float* y, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(GatheredNeuronsForwardSimd)(neurons, x, tokens, choices, y, pool);
}

}  // namespace grove
#endif  // HWY_ONCE
