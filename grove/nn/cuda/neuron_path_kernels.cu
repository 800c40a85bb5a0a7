// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A thread takes one token through one tree: paths are short, and what lies beside them is never read.
#include "grove/nn/cuda/activation.cuh"
#include "grove/nn/cuda/neuron_path_kernels.h"

namespace grove::nn::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kThreads = 256;

unsigned BlocksFor(int64_t items) { return static_cast<unsigned>((items + kThreads - 1) / kThreads); }
__device__ int64_t Item() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

__device__ float Slope(float l) {  // sigmoid'
  const float s = 1.0F / (1.0F + __expf(-l));
  return s * (1.0F - s);
}

__global__ void DecideKernel(const NeuronPaths p, const Bf16* turns, int64_t columns, int64_t nodes_of_tree,
                             int64_t* nodes) {
  const int64_t item = Item();
  if (item >= p.tokens * p.trees) return;
  const int64_t token = item / p.trees, tree = item % p.trees, levels = p.depth + 1;
  const int64_t first = tree * ((int64_t{2} << p.depth) - 1);
  const Bf16* row = turns + token * columns + tree * nodes_of_tree;
  int64_t node = 0;
  for (int64_t level = 0;; ++level) {
    nodes[item * levels + level] = first + node;
    if (level == p.depth) break;
    node = 2 * node + (__bfloat162float(row[node]) > 0 ? 2 : 1);
  }
}

template <ExpertActivation kKind>
__global__ void ActivateKernel(const NeuronPaths p, const Bf16* logits, const int64_t* nodes, Bf16* h, Bf16* left) {
  const int64_t item = Item(), levels = p.depth + 1;
  if (item >= p.tokens * p.trees * levels) return;
  const int64_t at = item / (p.trees * levels) * p.columns + nodes[item];
  const float l = __bfloat162float(logits[at]);
  h[at] = __float2bfloat16(Act<kKind>(l));
  if (left != nullptr) left[at] = __float2bfloat16(Act<kKind>(-l));
}

// What node `at` adds to dy . y.
template <ExpertActivation kKind>
__device__ float Share(const Bf16* logits, const Bf16* d_h, const Bf16* d_left, int64_t at) {
  const float l = __bfloat162float(logits[at]);
  float share = Act<kKind>(l) * __bfloat162float(d_h[at]);
  if (d_left != nullptr) share += Act<kKind>(-l) * __bfloat162float(d_left[at]);
  return share;
}

template <ExpertActivation kKind>
__global__ void BackwardKernel(const NeuronPaths p, const Bf16* logits, const int64_t* nodes, const Bf16* d_h,
                               const Bf16* d_left, bool straight_through, Bf16* d_logits) {
  const int64_t item = Item(), levels = p.depth + 1;
  if (item >= p.tokens * p.trees) return;
  const int64_t token = item / p.trees, first = item % p.trees * ((int64_t{2} << p.depth) - 1);
  const int64_t row = token * p.columns;
  float taken = 0;  // the shares on the path below the level
  for (int64_t level = p.depth; level >= 0; --level) {
    const int64_t at = row + nodes[item * levels + level];
    const float l = __bfloat162float(logits[at]);
    float d = __bfloat162float(d_h[at]) * ActGradient<kKind>(l);
    if (d_left != nullptr) d -= __bfloat162float(d_left[at]) * ActGradient<kKind>(-l);
    if (straight_through) {
      if (level < p.depth) {
        const bool right = l > 0;
        float other = 0;  // the shares below the child that was not taken
        int64_t node = 2 * (at - row - first) + (right ? 1 : 2);
        for (int64_t below = level + 1; below <= p.depth; ++below) {
          const int64_t there = row + first + node;
          other += Share<kKind>(logits, d_h, d_left, there);
          node = 2 * node + (__bfloat162float(logits[there]) > 0 ? 2 : 1);
        }
        d += (right ? taken - other : other - taken) * Slope(l);
      }
      taken += Share<kKind>(logits, d_h, d_left, at);
    }
    d_logits[at] = __float2bfloat16(d);
  }
}

}  // namespace

void DecideNeuronPaths(const NeuronPaths& p, const Bf16* turns, int64_t columns, int64_t nodes_of_tree, int64_t* nodes,
                       cudaStream_t stream) {
  const int64_t items = p.tokens * p.trees;
  if (items == 0) return;
  DecideKernel<<<BlocksFor(items), kThreads, 0, stream>>>(p, turns, columns, nodes_of_tree, nodes);
}

void ActivateNeuronPaths(const NeuronPaths& p, const Bf16* logits, const int64_t* nodes, Bf16* h, Bf16* left,
                         cudaStream_t stream) {
  const int64_t items = p.tokens * p.trees * p.levels();
  if (items == 0) return;
  const auto kernel = p.activation == ExpertActivation::kRelu ? ActivateKernel<ExpertActivation::kRelu>
                                                              : ActivateKernel<ExpertActivation::kGelu>;
  kernel<<<BlocksFor(items), kThreads, 0, stream>>>(p, logits, nodes, h, left);
}

void ActivateNeuronPathsBackward(const NeuronPaths& p, const Bf16* logits, const int64_t* nodes, const Bf16* d_h,
                                 const Bf16* d_left, bool straight_through, Bf16* d_logits, cudaStream_t stream) {
  const int64_t items = p.tokens * p.trees;
  if (items == 0) return;
  const auto kernel = p.activation == ExpertActivation::kRelu ? BackwardKernel<ExpertActivation::kRelu>
                                                              : BackwardKernel<ExpertActivation::kGelu>;
  kernel<<<BlocksFor(items), kThreads, 0, stream>>>(p, logits, nodes, d_h, d_left, straight_through, d_logits);
}

}  // namespace grove::nn::cuda
