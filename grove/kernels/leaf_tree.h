// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// One leaf tree (FFF, arXiv 2308.14711, section 2): 2^depth - 1 decision nodes above 2^depth small feedforward nets.
// The router of leaf_router.h and the experts of gated_experts.h together, with gradients; renormalized gates.
//
//   soft     y = sum over all leaves of p_i f_i(x)             FORWARD_T of the paper, the training form
//   1 path   the leaf at the end of the decided path, its gate 1   FORWARD_I, the hard form
//   n paths  the n most probable leaves, y = sum of g_i f_i(x) with g_i = p_i / sum of the chosen p (ours)
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
#include "grove/kernels/gated_experts.h"
#include "grove/kernels/leaf_router.h"

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
  LeafRouterShape router() const {
    return {.width = in_width, .depth = depth, .paths = paths, .decision_scale = decision_scale};
  }
  ExpertsShape experts() const {
    return {.experts = leaves(),
            .in_width = in_width,
            .hidden_width = leaf_width,
            .out_width = out_width,
            .activation = activation};
  }
};

// Views in the checkpoint's layout.
struct LeafTreeWeights {
  const float* node_weights = nullptr;  // [decisions, in_width]
  const float* node_biases = nullptr;   // [decisions]
  const float* w1 = nullptr;            // [leaves, in_width, leaf_width]
  const float* b1 = nullptr;            // [leaves, leaf_width]
  const float* w2 = nullptr;            // [leaves, leaf_width, out_width]
  const float* b2 = nullptr;            // [leaves, out_width]

  LeafRouterWeights router() const { return {node_weights, node_biases}; }
  ExpertsWeights experts() const { return {w1, b1, w2, b2}; }
};

// The leaves a batch visits and their gates. Both arrays [tokens, paths]; leaves of one token in order of falling
// probability, or breadth-first where all are visited.
struct LeafTreeTrace {
  uint32_t* leaves = nullptr;
  float* gates = nullptr;
};

class PackedLeafTree {
 public:
  PackedLeafTree(const LeafTreeShape& shape, const LeafTreeWeights& weights)
      : shape_(shape), router_(shape.router(), weights.router()), experts_(shape.experts(), weights.experts()) {}

  const LeafTreeShape& shape() const { return shape_; }
  const PackedLeafRouter& router() const { return router_; }
  const PackedExperts& experts() const { return experts_; }
  size_t bytes() const { return router_.bytes() + experts_.bytes(); }

 private:
  LeafTreeShape shape_;
  PackedLeafRouter router_;
  PackedExperts experts_;
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
