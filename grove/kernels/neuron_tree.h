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
// A path computes depth + 1 neurons of the tree's 2^(depth+1) - 1. The decision takes no gradient. As controls, paths
// may also be given: by fixed hyperplanes (RouteLeaves() of leaf_router.h with one path) or by a hash of the token
// (token_path.h).
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
#include "grove/kernels/gathered_neurons.h"

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
  NeuronsShape neurons() const {
    return {.neurons = nodes(), .width = width, .activation = activation, .two_sided = two_sided};
  }
};

// Views in the checkpoint's layout; nodes tree-major, breadth-first within a tree.
struct NeuronTreeWeights {
  const float* w_in = nullptr;        // [nodes, width]
  const float* b_in = nullptr;        // [nodes], or null for no bias
  const float* w_out = nullptr;       // [width, nodes]
  const float* w_out_left = nullptr;  // [width, nodes], two-sided only

  NeuronsWeights neurons() const { return {w_in, b_in, w_out, w_out_left, NeuronsWeights::Out::kByColumn}; }
};

// The same weights, packed node by node.
class PackedNeuronTree {
 public:
  PackedNeuronTree(const NeuronTreeShape& shape, const NeuronTreeWeights& weights)
      : shape_(shape), neurons_(shape.neurons(), weights.neurons()) {}

  const NeuronTreeShape& shape() const { return shape_; }
  const PackedNeurons& neurons() const { return neurons_; }
  size_t row() const { return neurons_.row(); }
  const float* in(size_t node) const { return neurons_.in(node); }
  const float* out(size_t node) const { return neurons_.out(node); }
  const float* out_left(size_t node) const { return neurons_.out_left(node); }
  float bias(size_t node) const { return neurons_.bias(node); }
  size_t bytes() const { return neurons_.bytes(); }

 private:
  NeuronTreeShape shape_;
  PackedNeurons neurons_;
};

// The decided path of every token, kept for the backward pass. Both arrays [tokens, trees, levels].
struct NeuronTreeTrace {
  uint32_t* nodes = nullptr;  // index into [trees * nodes_per_tree]
  float* logits = nullptr;
};

// x [tokens, width] -> y [tokens, width], overwritten. `trace` may be null.
void NeuronTreeForward(const PackedNeuronTree& weights, const float* x, size_t tokens, float* y,
                       const NeuronTreeTrace* trace, ThreadPool& pool);

// The same along given paths. ends [tokens, trees]: k * 2^depth + i where the path through tree k ends at the i-th node
// of the bottom, counted from the left.
void NeuronTreeForwardAlong(const PackedNeuronTree& weights, const float* x, size_t tokens, const uint32_t* ends,
                            float* y, ThreadPool& pool);

// The nodes of such a path, nodes[0 ... depth], among the nodes of all trees: at level j, the first j turns of i.
inline void NeuronTreePath(const NeuronTreeShape& shape, size_t end, uint32_t* nodes) {
  const size_t tree = end >> shape.depth, i = end - (tree << shape.depth);
  for (size_t level = 0; level <= shape.depth; ++level) {
    const size_t node = (size_t{1} << level) - 1 + (i >> (shape.depth - level));
    nodes[level] = static_cast<uint32_t>(tree * shape.nodes_per_tree() + node);
  }
}

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
void NeuronTreeForwardAlongReference(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, const float* x,
                                     size_t tokens, const uint32_t* ends, float* y);
void NeuronTreeBackwardReference(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, const float* x,
                                 const float* dy, size_t tokens, const NeuronTreeGradients& gradients);

}  // namespace grove
