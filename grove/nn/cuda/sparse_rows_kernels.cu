// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/cuda/sparse_rows_kernels.h"

namespace grove::nn::cuda {
namespace {

constexpr int kThreads = 128, kWarp = 32;

__device__ float4 Load(const float* p) { return *reinterpret_cast<const float4*>(p); }

// A block per token, a warp per row.
__global__ void RowDotsKernel(SparseRows call, const float* table, const float* x, float* dots) {
  const int64_t token = blockIdx.x;
  const int lane = threadIdx.x % kWarp;
  const float* vector = x + token * call.width;
  for (int64_t j = threadIdx.x / kWarp; j < call.n; j += kThreads / kWarp) {
    const float* row = table + call.rows[token * call.n + j] * call.width;
    float sum = 0;
    for (int64_t c = 4 * lane; c < call.width; c += 4 * kWarp) {
      const float4 a = Load(row + c), b = Load(vector + c);
      sum += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
    }
    for (int offset = kWarp / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, offset);
    if (lane == 0) dots[token * call.n + j] = sum;
  }
}

// A block per token, a thread per 4 columns.
__global__ void RowSumsKernel(SparseRows call, const float* table, const float* weights, float* sums) {
  const int64_t token = blockIdx.x;
  for (int64_t c = 4 * threadIdx.x; c < call.width; c += 4 * kThreads) {
    float4 sum = {0, 0, 0, 0};
    for (int64_t j = 0; j < call.n; ++j) {
      const float w = weights[token * call.n + j];
      const float4 v = Load(table + call.rows[token * call.n + j] * call.width + c);
      sum = {sum.x + w * v.x, sum.y + w * v.y, sum.z + w * v.z, sum.w + w * v.w};
    }
    *reinterpret_cast<float4*>(sums + token * call.width + c) = sum;
  }
}

__device__ void AddTo(float* p, float4 v) {
#if __CUDA_ARCH__ >= 900
  atomicAdd(reinterpret_cast<float4*>(p), v);
#else
  atomicAdd(p, v.x);
  atomicAdd(p + 1, v.y);
  atomicAdd(p + 2, v.z);
  atomicAdd(p + 3, v.w);
#endif
}

__global__ void RowScatterKernel(SparseRows call, const float* weights, const float* vectors, float* gradient) {
  const int64_t token = blockIdx.x;
  for (int64_t c = 4 * threadIdx.x; c < call.width; c += 4 * kThreads) {
    const float4 v = Load(vectors + token * call.width + c);
    for (int64_t j = 0; j < call.n; ++j) {
      const float w = weights[token * call.n + j];
      AddTo(gradient + call.rows[token * call.n + j] * call.width + c, {w * v.x, w * v.y, w * v.z, w * v.w});
    }
  }
}

}  // namespace

void RowDots(const SparseRows& call, const float* table, const float* x, float* dots, cudaStream_t stream) {
  if (call.tokens == 0) return;
  RowDotsKernel<<<static_cast<unsigned>(call.tokens), kThreads, 0, stream>>>(call, table, x, dots);
}

void RowSums(const SparseRows& call, const float* table, const float* weights, float* sums, cudaStream_t stream) {
  if (call.tokens == 0) return;
  RowSumsKernel<<<static_cast<unsigned>(call.tokens), kThreads, 0, stream>>>(call, table, weights, sums);
}

void RowScatter(const SparseRows& call, const float* weights, const float* vectors, float* gradient,
                cudaStream_t stream) {
  if (call.tokens == 0) return;
  RowScatterKernel<<<static_cast<unsigned>(call.tokens), kThreads, 0, stream>>>(call, weights, vectors, gradient);
}

}  // namespace grove::nn::cuda
