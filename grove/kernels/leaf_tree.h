// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Leaf trees (FFF, arXiv 2308.14711, section 2): 2^depth - 1 decision nodes above 2^depth small feedforward nets.
//
//     decision   l_n = node_weights[n] . x + node_biases[n];   P(right at n) = sigmoid(scale * l_n)
//     leaf       f_i(x) = act(x W1_i + b1_i) W2_i + b2_i       W1_i [in_width, leaf_width], W2_i [leaf_width,
//     out_width] path       p_i = product over the decisions on the way to leaf i
//
//   soft     y = sum over all leaves of p_i f_i(x)             FORWARD_T of the paper, the training form
//   1 path   the leaf at the end of the decided path, its gate 1; a logit of exactly 0 goes left  FORWARD_I, the hard
//   form n paths  the n most probable leaves, found best-first, y = sum of g_i f_i(x) with g_i = p_i / sum of the
//   chosen p (ours)
//
// With n = 2^depth the last form is the soft form. Gradients flow through the gates of the n-path and soft forms; the
// 1-path form has none for the decisions.
//
//   PackedLeafTree packed(shape, weights);
//   LeafTreeForward(packed, x, tokens, y, nullptr, pool);
//
// Arguments are valid by contract; nothing here fails. Results do not depend on thread count or batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/kernels/activation.h"

namespace grove {

struct LeafTreeShape {
  size_t in_width = 0;
  size_t leaf_width = 0;
  size_t out_width = 0;
  size_t depth = 0;
  size_t paths = 1;             // leaves per token, 1 ... 2^depth
  float decision_scale = 1.0f;  // > 0
  Activation activation = Activation::kGelu;

  size_t leaves() const { return size_t{1} << depth; }
  size_t decisions() const { return leaves() - 1; }
};

// Views in the checkpoint's layout.
struct LeafTreeWeights {
  const float* node_weights = nullptr;  // [decisions, in_width]
  const float* node_biases = nullptr;   // [decisions]
  const float* w1 = nullptr;            // [leaves, in_width, leaf_width]
  const float* b1 = nullptr;            // [leaves, leaf_width]
  const float* w2 = nullptr;            // [leaves, leaf_width, out_width]
  const float* b2 = nullptr;            // [leaves, out_width]
};

// The leaves a batch visits and their gates. Both arrays [tokens, paths]; leaves of one token in order of falling
// probability, or breadth-first where all are visited.
struct LeafTreeTrace {
  uint32_t* leaves = nullptr;
  float* gates = nullptr;
};

// Rows padded to whole cache lines, for aligned vector loads.
class PackedLeafTree {
 public:
  PackedLeafTree(const LeafTreeShape& shape, const LeafTreeWeights& weights);

  const LeafTreeShape& shape() const { return shape_; }
  size_t node_row() const { return node_row_; }
  size_t hidden_row() const { return hidden_row_; }
  size_t out_row() const { return out_row_; }
  const float* node(size_t n) const { return nodes_.data() + n * node_row_; }
  float node_bias(size_t n) const { return node_biases_[n]; }
  const float* w1(size_t leaf) const { return w1_.data() + leaf * shape_.in_width * hidden_row_; }  // [in, hidden_row]
  const float* b1(size_t leaf) const { return b1_.data() + leaf * hidden_row_; }
  const float* w2(size_t leaf) const {
    return w2_.data() + leaf * shape_.leaf_width * out_row_;
  }  // [leaf_width, out_row]
  const float* b2(size_t leaf) const { return b2_.data() + leaf * out_row_; }
  size_t bytes() const;

 private:
  LeafTreeShape shape_;
  size_t node_row_, hidden_row_, out_row_;
  AlignedArray<float> nodes_, node_biases_, w1_, b1_, w2_, b2_;
};

// x [tokens, in_width] -> y [tokens, out_width], overwritten. `trace` may be null.
void LeafTreeForward(const PackedLeafTree& weights, const float* x, size_t tokens, float* y, const LeafTreeTrace* trace,
                     ThreadPool& pool);

// Gradients of a scalar loss, in the checkpoint's layout, overwritten.
struct LeafTreeGradients {
  float* dx = nullptr;             // [tokens, in_width]
  float* dnode_weights = nullptr;  // [decisions, in_width]
  float* dnode_biases = nullptr;   // [decisions]
  float* dw1 = nullptr;
  float* db1 = nullptr;
  float* dw2 = nullptr;
  float* db2 = nullptr;
};

// From dy [tokens, out_width] and the forward's trace. Bit-identical for any number of threads.
void LeafTreeBackward(const PackedLeafTree& weights, const float* x, const LeafTreeTrace& trace, const float* dy,
                      size_t tokens, const LeafTreeGradients& gradients, ThreadPool& pool);

// The oracles: scalar, sums in double, written to be read beside the papers.
void LeafTreeSoftReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x, size_t tokens,
                           float* y);
void LeafTreeForwardReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x, size_t tokens,
                              float* y, const LeafTreeTrace* trace);
void LeafTreeBackwardReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x,
                               const LeafTreeTrace& trace, const float* dy, size_t tokens,
                               const LeafTreeGradients& gradients);

// entropy[n] = batch mean of the entropy (natural log) of decision n; [decisions]. The hardening loss of the paper is
// their sum times h.
void LeafTreeEntropyReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x, size_t tokens,
                              float* entropy);
// Gradients of the sum of `entropy`: fills dx, dnode_weights and dnode_biases only.
void LeafTreeEntropyBackwardReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x,
                                      size_t tokens, const LeafTreeGradients& gradients);

}  // namespace grove
