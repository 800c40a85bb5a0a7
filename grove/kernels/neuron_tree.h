// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Neuron trees (UltraFastBERT, arXiv 2311.10770, section 2 and algorithm 1): every node of a binary tree is a neuron,
// and its own logit decides the turn. For token x, in each of `trees` trees, from the root down `depth` decisions:
//
//     l = w_in[n] . x + b_in[n]
//     y += act(l) * w_out[n]                              one-sided, as published
//     y += act(l) * w_out[n] + act(-l) * w_out_left[n]    two-sided: a left turn speaks too
//     n  = l > 0 ? 2n + 2 : 2n + 1                        a logit of exactly 0 goes left
//
// A path computes depth + 1 neurons of the tree's 2^(depth+1) - 1. The decision takes no gradient.
//
//   PackedNeuronTree packed(shape, weights);                       // once, at load
//   NeuronTreeForward(packed, x, tokens, y, nullptr, pool);        // y [tokens, width]
//
// Arguments are valid by contract; nothing here fails. Results do not depend on thread count or batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/kernels/activation.h"

namespace grove {

struct NeuronTreeShape {
  size_t width = 0;  // of x and y
  size_t trees = 1;
  size_t depth = 0;  // decisions on a path
  Activation activation = Activation::kGelu;
  bool two_sided = false;

  size_t levels() const { return depth + 1; }  // neurons on a path
  size_t nodes_per_tree() const { return (size_t{2} << depth) - 1; }
  size_t nodes() const { return trees * nodes_per_tree(); }
};

// Views in the checkpoint's layout; nodes tree-major, breadth-first within a tree.
struct NeuronTreeWeights {
  const float* w_in = nullptr;        // [nodes, width]
  const float* b_in = nullptr;        // [nodes], or null for no bias
  const float* w_out = nullptr;       // [width, nodes]
  const float* w_out_left = nullptr;  // [width, nodes], two-sided only
};

// The same weights, node-major: a node's rows of w_in, w_out and w_out_left next to each other, each padded with zeros
// to whole cache lines.
class PackedNeuronTree {
 public:
  PackedNeuronTree(const NeuronTreeShape& shape, const NeuronTreeWeights& weights);

  const NeuronTreeShape& shape() const { return shape_; }
  size_t row() const { return row_; }  // floats of one padded row
  const float* in(size_t node) const { return rows_.data() + node * stride_; }
  const float* out(size_t node) const { return in(node) + row_; }
  const float* out_left(size_t node) const { return out(node) + row_; }
  float bias(size_t node) const { return bias_[node]; }
  size_t bytes() const { return (rows_.size() + bias_.size()) * sizeof(float); }

 private:
  NeuronTreeShape shape_;
  size_t row_, stride_;
  AlignedArray<float> rows_, bias_;
};

// The decided path of every token, kept for the backward pass. Both arrays [tokens, trees, levels].
struct NeuronTreeTrace {
  uint32_t* nodes = nullptr;  // index into [trees * nodes_per_tree]
  float* logits = nullptr;
};

// x [tokens, width] -> y [tokens, width], overwritten. `trace` may be null.
void NeuronTreeForward(const PackedNeuronTree& weights, const float* x, size_t tokens, float* y,
                       const NeuronTreeTrace* trace, ThreadPool& pool);

// Gradients of a scalar loss, in the checkpoint's layout, overwritten. db_in and dw_out_left may be null.
struct NeuronTreeGradients {
  float* dx = nullptr;           // [tokens, width]
  float* dw_in = nullptr;        // [nodes, width]
  float* db_in = nullptr;        // [nodes]
  float* dw_out = nullptr;       // [width, nodes]
  float* dw_out_left = nullptr;  // [width, nodes]
};

// From dy [tokens, width] and the forward's trace. Bit-identical for any number of threads.
void NeuronTreeBackward(const PackedNeuronTree& weights, const float* x, const NeuronTreeTrace& trace, const float* dy,
                        size_t tokens, const NeuronTreeGradients& gradients, ThreadPool& pool);

// The oracle: scalar, sums in double, written to be read beside the paper.
void NeuronTreeForwardReference(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, const float* x,
                                size_t tokens, float* y, const NeuronTreeTrace* trace);
void NeuronTreeBackwardReference(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, const float* x,
                                 const float* dy, size_t tokens, const NeuronTreeGradients& gradients);

}  // namespace grove
