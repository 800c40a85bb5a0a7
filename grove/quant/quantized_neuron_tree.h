// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Neuron trees with bf16 or int8 weights: neuron_tree.h in less memory and more products an instruction. Equations:
//
//   bf16   l = bf16(w_in) . bf16(x) + b_in;   y += bf16(act(l)) * bf16(w_out), along a path
//   int8   x = sx qx, w_in[n] = s_in[n] q_in[n]:   l = (qx . q_in) (sx s_in) + b_in
//          along one path v_l = act(l) s_out[l] = sv qv_l:   y += sv * (sum over l of qv_l q_out[l])
//
// Biases and sums stay floats. Results do not depend on threads, batch or grouping; those of int8 not on the
// instruction set either.
//
//   const QuantizedNeuronTree tree(shape, weights, Quantization::kInt8);     // once, at load
//   NeuronTreeForward(tree, x, tokens, y, pool);
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/base/weights.h"
#include "grove/kernels/neuron_tree.h"
#include "grove/quant/quantization.h"

namespace grove {

// Views in the checkpoint's layout, as NeuronTreeWeights; matrices of the precision that is asked for, or fp32.
struct QuantizedTreeWeights {
  WeightsView w_in;             // [nodes, width], a scale for each node
  const float* b_in = nullptr;  // [nodes], or null
  WeightsView w_out;            // [width, nodes], a scale for each node
  WeightsView w_out_left;       // the same, two-sided trees only
};

// Node-major, as PackedNeurons: in, out and out_left of a node next to each other, `row` values each.
class QuantizedNeuronTree {
 public:
  struct Scales {  // int8 only, of a node's rows
    float in = 0, out = 0, out_left = 0;
    int32_t sum = 0;  // of `in`: activations are multiplied as value + int8_shift (row_kernels.h)
  };

  QuantizedNeuronTree(const NeuronTreeShape& shape, const QuantizedTreeWeights& weights, Quantization precision);
  QuantizedNeuronTree(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, Quantization precision)
      : QuantizedNeuronTree(shape, QuantizedTreeWeights{weights.w_in, weights.b_in, weights.w_out, weights.w_out_left},
                            precision) {}

  const NeuronTreeShape& shape() const { return shape_; }
  Quantization precision() const { return precision_; }
  size_t row() const { return row_; }  // values of a padded row
  const std::byte* in(size_t node) const { return rows_.data() + node * stride_; }
  const std::byte* out(size_t node) const { return in(node) + row_bytes_; }  // in the order of OutPosition()
  const std::byte* out_left(size_t node) const { return out(node) + row_bytes_; }
  size_t row_bytes() const { return row_bytes_; }
  float bias(size_t node) const { return bias_[node]; }
  const Scales& scales(size_t node) const { return scales_[node]; }
  size_t bytes() const { return rows_.size() + bias_.size() * sizeof(float) + scales_.size() * sizeof(Scales); }

 private:
  void PackIn(const WeightsView& in);
  void PackOut(const WeightsView& out, size_t part);  // part: 1 right, 2 left

  NeuronTreeShape shape_;
  Quantization precision_;
  size_t row_, row_bytes_, stride_;
  AlignedArray<std::byte> rows_;
  AlignedArray<float> bias_;
  AlignedArray<Scales> scales_;
};

// x [tokens, width] -> y [tokens, width], overwritten; they must not overlap.
void NeuronTreeForward(const QuantizedNeuronTree& weights, const float* x, size_t tokens, float* y, ThreadPool& pool);

// The oracle, from the original weights: the equations above with scalar sums, in double where they are not integers.
void QuantizedNeuronTreeReference(const NeuronTreeShape& shape, const NeuronTreeWeights& weights,
                                  Quantization precision, const float* x, size_t tokens, float* y);

}  // namespace grove
