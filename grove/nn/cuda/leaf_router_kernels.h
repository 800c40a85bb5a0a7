// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The router of leaf trees in one pass: from the logits of all decisions to the chosen leaves, their gates and what the
// balance loss needs. As chains of tensor operations the same steps are a hundred launches a layer.
//
// Raw device pointers, row-major; calls are queued on `stream` and return at once. Decisions are breadth-first within a
// tree, trees one after the other; a row of logits may have more columns than decisions.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace grove::nn::cuda {

constexpr int64_t kDeepestRouter = 11, kMostPaths = 32;

// Whether the current device has the shared memory for trees so deep: every one to depth 9, Hopper to kDeepestRouter.
bool CanRouteDepth(int64_t depth);

struct LeafRouter {
  int64_t tokens, trees, depth, paths;
  int64_t columns;   // of a row of logits, at least trees x (2^depth - 1)
  float scale;       // P(right) = sigmoid(scale x logit)
  bool renormalize;  // gates p / sum of the chosen p, or p
  const __nv_bfloat16* logits;

  int64_t leaves() const { return int64_t{1} << depth; }
};

// With one path the decided one, a logit of 0 to the left; else the most probable leaves, the left one of equals first.
// chosen, gates [tokens, trees x paths]; a leaf's index counts those of the trees before.
// p_sums [RouterBlocks, trees x leaves]: probabilities of every leaf summed over the tokens of a block; visits the
// same, how often it was chosen.
int64_t RouterBlocks(int64_t tokens);
void RouteLeavesForward(const LeafRouter& router, int64_t* chosen, float* gates, float* p_sums, float* visits,
                        cudaStream_t stream);

// d_logits [tokens, columns], 0 beyond the decisions. d_p_sums [trees x leaves]: of each leaf's probability, for every
// token; may be null.
void RouteLeavesBackward(const LeafRouter& router, const int64_t* chosen, const float* gates, const float* d_gates,
                         const float* d_p_sums, __nv_bfloat16* d_logits, cudaStream_t stream);

}  // namespace grove::nn::cuda
