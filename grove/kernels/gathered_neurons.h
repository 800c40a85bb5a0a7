// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A token's output from single neurons that something has chosen for it: product keys, or a path through a neuron tree.
//
//     l = in[n] . x + bias[n],  n = chosen[t, s]
//     y[t] = sum over s of gates[t, s] (act(l) out[n] + act(-l) out_left[n])     the second term only if two-sided
//
//   PackedNeurons neurons(shape, weights);                                            // once, at load
//   GatheredNeuronsForward(neurons, x, tokens, {chosen.data(), gates.data(), n}, y, pool);
//
// A token's sum takes its neurons in the order of its choices; one that is chosen twice counts twice. Arguments are
// valid by contract; nothing here fails. Results do not depend on thread count or batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/kernels/activation.h"

namespace grove {

struct NeuronsShape {
  size_t neurons = 0;
  size_t width = 0;  // of x and y
  Activation activation = Activation::kGelu;
  bool two_sided = false;
};

// Views in the checkpoint's layout.
struct NeuronsWeights {
  enum class Out { kByColumn, kByNeuron };  // [width, neurons] as of a dense layer, or [neurons, width]

  const float* in = nullptr;        // [neurons, width]
  const float* bias = nullptr;      // [neurons], or null for none
  const float* out = nullptr;       // in the order of `layout`
  const float* out_left = nullptr;  // the same, two-sided only
  Out layout = Out::kByNeuron;
};

// The same weights, neuron-major: a neuron's rows of in, out and out_left next to each other, each padded with zeros to
// whole cache lines.
class PackedNeurons {
 public:
  PackedNeurons(const NeuronsShape& shape, const NeuronsWeights& weights);

  const NeuronsShape& shape() const { return shape_; }
  size_t row() const { return row_; }  // floats of one padded row
  const float* in(size_t n) const { return rows_.data() + n * stride_; }
  const float* out(size_t n) const { return in(n) + row_; }
  const float* out_left(size_t n) const { return out(n) + row_; }
  float bias(size_t n) const { return bias_[n]; }
  size_t bytes() const { return (rows_.size() + bias_.size()) * sizeof(float); }

 private:
  NeuronsShape shape_;
  size_t row_, stride_;
  AlignedArray<float> rows_, bias_;
};

// Both arrays [tokens, per_token]. No gates: all are 1.
struct NeuronChoices {
  const uint32_t* chosen = nullptr;
  const float* gates = nullptr;
  size_t per_token = 1;
};

// x [tokens, width] -> y [tokens, width], overwritten; x and y must not overlap.
void GatheredNeuronsForward(const PackedNeurons& neurons, const float* x, size_t tokens, const NeuronChoices& choices,
                            float* y, ThreadPool& pool);

// The oracle: scalar, sums in double. chosen and gates [tokens, per_token]; gates may be null.
void GatheredNeuronsReference(const NeuronsShape& shape, const NeuronsWeights& weights, const float* x, size_t tokens,
                              const uint32_t* chosen, const double* gates, size_t per_token, float* y);

}  // namespace grove
