// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The masked dense form of neuron trees on a GPU: the logits of all nodes are one matrix product; these kernels walk
// them, keep the activations of a token's paths and leave 0 elsewhere, so that the second product is the dense one too.
//
// Raw device pointers, row-major; calls are queued on `stream` and return at once. Nodes are breadth-first within a
// tree of 2^(depth + 1) - 1, trees one after the other; rows may have more columns than nodes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "grove/nn/cuda/expert_kernels.h"

namespace grove::nn::cuda {

struct NeuronPaths {
  int64_t tokens, trees, depth;
  int64_t columns;  // of a row of logits and of activations
  ExpertActivation activation;

  int64_t levels() const { return depth + 1; }
};

// nodes [tokens, trees x levels]: those on the path of each tree, counted over all trees. A token turns right at a node
// where turns[token, tree x nodes_of_tree + node] > 0.
void DecideNeuronPaths(const NeuronPaths& paths, const __nv_bfloat16* turns, int64_t columns, int64_t nodes_of_tree,
                       int64_t* nodes, cudaStream_t stream);

// h[token, node] = act(l) for the nodes of the paths; left, if not null, act(-l). Both must be 0 before.
void ActivateNeuronPaths(const NeuronPaths& paths, const __nv_bfloat16* logits, const int64_t* nodes, __nv_bfloat16* h,
                         __nv_bfloat16* left, cudaStream_t stream);

// d_logits from d_h and d_left (may be null), written at the nodes of the paths; must be 0 before. straight_through
// adds (R - L) sigmoid'(l) at every decision: R and L what d_h . act gives along the decided turns below its right and
// left child (nn/neuron_tree.cc).
void ActivateNeuronPathsBackward(const NeuronPaths& paths, const __nv_bfloat16* logits, const int64_t* nodes,
                                 const __nv_bfloat16* d_h, const __nv_bfloat16* d_left, bool straight_through,
                                 __nv_bfloat16* d_logits, cudaStream_t stream);

}  // namespace grove::nn::cuda
