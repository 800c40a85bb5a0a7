// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A warp takes one token through one tree; a block keeps to one tree and adds up in shared memory, in a fixed order.
#include <algorithm>

#include "grove/nn/cuda/leaf_router_kernels.h"

namespace grove::nn::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kWarp = 32, kWarps = 8, kThreads = kWarp * kWarps;
constexpr unsigned kAll = 0xffffffffU;
constexpr int64_t kAlwaysDeepEnough = 9;

constexpr int LeavesOfThread(int64_t depth) { return ((1 << depth) + kThreads - 1) / kThreads; }

__device__ float LogSigmoid(float l) { return fminf(l, 0.0F) - log1pf(__expf(-fabsf(l))); }
__device__ float Sigmoid(float l) { return 1.0F / (1.0F + __expf(-l)); }
__device__ float Logit(const LeafRouter& r, const Bf16* row, int node) { return r.scale * __bfloat162float(row[node]); }

__device__ float WarpSum(float v) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(kAll, v, offset);
  return v;
}

// log_p of all nodes, breadth-first, from the root's 0 to the leaves.
__device__ void DownTheTree(const LeafRouter& r, const Bf16* row, int lane, float* log_p) {
  if (lane == 0) log_p[0] = 0;
  __syncwarp();
  for (int level = 0; level < r.depth; ++level) {
    const int first = (1 << level) - 1;
    for (int i = lane; i <= first; i += kWarp) {
      const int node = first + i;
      const float l = Logit(r, row, node);
      log_p[2 * node + 1] = log_p[node] + LogSigmoid(-l);
      log_p[2 * node + 2] = log_p[node] + LogSigmoid(l);
    }
    __syncwarp();
  }
}

__device__ int DecidedLeaf(const LeafRouter& r, const Bf16* row) {
  int node = 0;
  for (int level = 0; level < r.depth; ++level) node = 2 * node + (Logit(r, row, node) > 0 ? 2 : 1);
  return node - ((1 << r.depth) - 1);
}

// Lane j < paths ends with the j-th most probable leaf and its log p.
__device__ void MostProbable(const LeafRouter& r, float* leaf_log_p, int lane, int* leaf, float* log_p) {
  const int leaves = 1 << r.depth;
  for (int path = 0; path < r.paths; ++path) {
    float best = -INFINITY;
    int at = leaves;
    for (int i = lane; i < leaves; i += kWarp) {
      if (leaf_log_p[i] > best) best = leaf_log_p[i], at = i;
    }
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      const float other = __shfl_xor_sync(kAll, best, offset);
      const int other_at = __shfl_xor_sync(kAll, at, offset);
      if (other > best || (other == best && other_at < at)) best = other, at = other_at;
    }
    if (at == leaves) at = 0;  // logits that are not numbers
    if (lane == path) *leaf = at, *log_p = best;
    if (lane == 0) leaf_log_p[at] = -INFINITY;
    __syncwarp();
  }
}

template <int kLeavesOfThread>
__global__ void ForwardKernel(const LeafRouter r, int64_t* chosen, float* gates, float* p_sums, float* visits) {
  extern __shared__ float shared[];
  const int leaves = 1 << r.depth, nodes = 2 * leaves - 1, tree = blockIdx.y;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  float* log_p = shared + warp * (nodes + leaves);
  float* p = log_p + nodes;
  int* counts = reinterpret_cast<int*>(shared + kWarps * (nodes + leaves));
  for (int i = threadIdx.x; i < leaves; i += kThreads) counts[i] = 0;
  float sums[kLeavesOfThread] = {};
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kWarps; first < r.tokens; first += step) {
    const int64_t token = first + warp;
    const bool here = token < r.tokens;
    __syncthreads();  // counts are 0, and the sums below are done with p
    if (here) {
      const Bf16* row = r.logits + token * r.columns + tree * (leaves - 1);
      DownTheTree(r, row, lane, log_p);
      for (int i = lane; i < leaves; i += kWarp) p[i] = __expf(log_p[leaves - 1 + i]);
      int leaf = 0;
      float value = 0;
      if (r.paths == 1) {
        leaf = DecidedLeaf(r, row);
        value = log_p[leaves - 1 + leaf];
      } else {
        MostProbable(r, log_p + leaves - 1, lane, &leaf, &value);
      }
      const bool mine = lane < r.paths;
      const float top = __shfl_sync(kAll, value, 0);
      float gate = mine ? __expf(r.renormalize ? value - top : value) : 0.0F;
      if (r.renormalize) gate /= WarpSum(gate);
      if (mine) {
        const int64_t at = (token * r.trees + tree) * r.paths + lane;
        chosen[at] = static_cast<int64_t>(tree) * leaves + leaf;
        gates[at] = gate;
        atomicAdd(counts + leaf, 1);
      }
    } else {
      for (int i = lane; i < leaves; i += kWarp) p[i] = 0;
    }
    __syncthreads();
    for (int k = 0; k < kLeavesOfThread; ++k) {
      const int i = static_cast<int>(threadIdx.x) + k * kThreads;
      if (i >= leaves) break;
      for (int w = 0; w < kWarps; ++w) sums[k] += shared[w * (nodes + leaves) + nodes + i];
    }
  }
  __syncthreads();
  const int64_t out = (blockIdx.x * r.trees + tree) * leaves;
  for (int k = 0; k < kLeavesOfThread; ++k) {
    const int i = static_cast<int>(threadIdx.x) + k * kThreads;
    if (i >= leaves) break;
    p_sums[out + i] = sums[k];
    visits[out + i] = static_cast<float>(counts[i]);
  }
}

// d log p of the leaves is summed up the tree: with s = sigmoid(l), d l = (1 - s) sum of the right leaves - s sum of
// the left ones.
__global__ void BackwardKernel(const LeafRouter r, const int64_t* chosen, const float* gates, const float* d_gates,
                               const float* d_p_sums, Bf16* d_logits) {
  extern __shared__ float shared[];
  const int leaves = 1 << r.depth, nodes = 2 * leaves - 1, tree = blockIdx.y;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  if (token >= r.tokens) return;
  float* sum = shared + warp * nodes;
  float* of_leaf = sum + leaves - 1;
  const Bf16* row = r.logits + token * r.columns + tree * (leaves - 1);
  Bf16* d_row = d_logits + token * r.columns + tree * (leaves - 1);
  if (d_p_sums != nullptr) {
    DownTheTree(r, row, lane, sum);
    for (int i = lane; i < leaves; i += kWarp) of_leaf[i] = __expf(of_leaf[i]) * d_p_sums[tree * leaves + i];
  } else {
    for (int i = lane; i < leaves; i += kWarp) of_leaf[i] = 0;
  }
  __syncwarp();
  const bool mine = lane < r.paths;
  const int64_t at = (token * r.trees + tree) * r.paths + (mine ? lane : 0);
  const float gate = mine ? gates[at] : 0.0F, d_gate = mine ? d_gates[at] : 0.0F;
  const float mean = r.renormalize ? WarpSum(gate * d_gate) : 0.0F;
  if (mine) of_leaf[chosen[at] - static_cast<int64_t>(tree) * leaves] += gate * (d_gate - mean);
  __syncwarp();
  for (int level = static_cast<int>(r.depth) - 1; level >= 0; --level) {
    const int first = (1 << level) - 1;
    for (int i = lane; i <= first; i += kWarp) {
      const int node = first + i;
      const float left = sum[2 * node + 1], right = sum[2 * node + 2], s = Sigmoid(Logit(r, row, node));
      sum[node] = left + right;
      d_row[node] = __float2bfloat16(r.scale * ((1.0F - s) * right - s * left));
    }
    __syncwarp();
  }
  const int64_t decisions = r.trees * (leaves - 1);
  if (tree == 0 && lane < r.columns - decisions)
    d_logits[token * r.columns + decisions + lane] = __float2bfloat16(0.0F);
}

size_t ForwardShared(int64_t leaves) { return sizeof(float) * static_cast<size_t>(kWarps * (3 * leaves - 1) + leaves); }
size_t BackwardShared(int64_t leaves) { return sizeof(float) * static_cast<size_t>(kWarps * (2 * leaves - 1)); }

template <class Kernel>
void AllowShared(Kernel kernel, size_t bytes) {
  if (bytes > 48 * 1024) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  }
}

}  // namespace

bool CanRouteDepth(int64_t depth) {
  if (depth <= kAlwaysDeepEnough) return true;
  int device = 0, bytes = 0;
  return depth <= kDeepestRouter && cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) == cudaSuccess &&
         ForwardShared(int64_t{1} << depth) <= static_cast<size_t>(bytes);
}

int64_t RouterBlocks(int64_t tokens) { return std::min<int64_t>((tokens + kWarps - 1) / kWarps, 512); }

void RouteLeavesForward(const LeafRouter& r, int64_t* chosen, float* gates, float* p_sums, float* visits,
                        cudaStream_t stream) {
  if (r.tokens == 0) return;
  const dim3 grid(static_cast<unsigned>(RouterBlocks(r.tokens)), static_cast<unsigned>(r.trees));
  const auto kernel = r.depth <= kAlwaysDeepEnough ? ForwardKernel<LeavesOfThread(kAlwaysDeepEnough)>
                                                   : ForwardKernel<LeavesOfThread(kDeepestRouter)>;
  const size_t shared = ForwardShared(r.leaves());
  AllowShared(kernel, shared);
  kernel<<<grid, kThreads, shared, stream>>>(r, chosen, gates, p_sums, visits);
}

void RouteLeavesBackward(const LeafRouter& r, const int64_t* chosen, const float* gates, const float* d_gates,
                         const float* d_p_sums, Bf16* d_logits, cudaStream_t stream) {
  if (r.tokens == 0) return;
  const dim3 grid(static_cast<unsigned>((r.tokens + kWarps - 1) / kWarps), static_cast<unsigned>(r.trees));
  const size_t shared = BackwardShared(r.leaves());
  AllowShared(BackwardKernel, shared);
  BackwardKernel<<<grid, kThreads, shared, stream>>>(r, chosen, gates, d_gates, d_p_sums, d_logits);
}

}  // namespace grove::nn::cuda
