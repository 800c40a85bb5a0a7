// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Which leaves of leaf trees a token visits (FFF, arXiv 2308.14711, section 2; several paths and trees are ours). Each
// tree has 2^depth - 1 decision nodes, breadth-first, above 2^depth leaves:
//
//     decision   l_n = weights[n] . x + biases[n];   P(right at n) = sigmoid(scale * l_n)
//     path       p_i = product over the decisions on the way to leaf i
//
//     1 path     the leaf at the end of the decided path; a logit of exactly 0 goes left
//     n paths    the n most probable leaves, found best-first; of equals the left one
//     gates      kRenormalized: p_i / sum of the tree's chosen p, exactly 1 for one path; kProbability: p_i
//
// Leaf i of tree k is expert k * 2^depth + i of gated_experts.h.
//
//   RouteLeaves(PackedLeafRouter(shape, weights), x, tokens, {leaves.data(), gates.data()}, pool);
//
// Arguments are valid by contract; nothing here fails. Results do not depend on thread count or batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/kernels/gated_experts.h"
#include "grove/kernels/gates.h"

namespace grove {

struct LeafRouterShape {
  size_t width = 0;
  size_t trees = 1;
  size_t depth = 0;
  size_t paths = 1;             // leaves of a tree that a token visits, 1 ... 2^depth
  float decision_scale = 1.0f;  // > 0
  Gates gates = Gates::kRenormalized;

  size_t leaves() const { return size_t{1} << depth; }  // of one tree
  size_t decisions() const { return leaves() - 1; }     // of one tree
  size_t leaves_per_token() const { return trees * paths; }
};

// Views in the checkpoint's layout, tree-major.
struct LeafRouterWeights {
  const float* weights = nullptr;  // [trees x decisions, width]
  const float* biases = nullptr;   // [trees x decisions]
};

class PackedLeafRouter {
 public:
  PackedLeafRouter(const LeafRouterShape& shape, const LeafRouterWeights& weights);

  const LeafRouterShape& shape() const { return shape_; }
  size_t row() const { return row_; }  // floats of one padded row
  const float* node(size_t n) const { return nodes_.data() + n * row_; }
  float bias(size_t n) const { return biases_[n]; }
  size_t bytes() const { return sizeof(float) * (nodes_.size() + biases_.size()); }

 private:
  LeafRouterShape shape_;
  size_t row_;
  AlignedArray<float> nodes_, biases_;
};

// x [tokens, width] -> choices [tokens, trees x paths]: tree after tree; the leaves of one tree in order of falling
// probability, or breadth-first where all are visited.
void RouteLeaves(const PackedLeafRouter& router, const float* x, size_t tokens, const ExpertChoiceBuffers& choices,
                 ThreadPool& pool);

// The oracle: scalar, sums in double; every decision and every leaf's probability is computed.
void RouteLeavesReference(const LeafRouterShape& shape, const LeafRouterWeights& weights, const float* x, size_t tokens,
                          uint32_t* leaves, double* gates);

}  // namespace grove
