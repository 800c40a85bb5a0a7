// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <algorithm>

#include "grove/nn/cuda/fused_kernels.h"

namespace grove::nn::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kWarp = 32, kWarps = 8;  // of a block; norms: a warp per row
constexpr int kColumns = 4 * kWarp;    // of a row, that a warp takes at a time: 4 neighbours a lane
constexpr int kCrossThreads = 256;

__device__ float4 Load(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ float4 Load(const Bf16* p) {
  const uint2 raw = *reinterpret_cast<const uint2*>(p);
  const float2 a = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(raw.x));
  const float2 b = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(raw.y));
  return {a.x, a.y, b.x, b.y};
}
__device__ void Store(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }
__device__ void Store(Bf16* p, float4 v) {
  uint2 raw;
  reinterpret_cast<__nv_bfloat162&>(raw.x) = __floats2bfloat162_rn(v.x, v.y);
  reinterpret_cast<__nv_bfloat162&>(raw.y) = __floats2bfloat162_rn(v.z, v.w);
  *reinterpret_cast<uint2*>(p) = raw;
}
__device__ float4 operator+(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }
__device__ float4 operator*(float4 a, float4 b) { return {a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w}; }
__device__ float4 Affine(float4 a, float scale, float shift) {
  return {a.x * scale + shift, a.y * scale + shift, a.z * scale + shift, a.w * scale + shift};
}
__device__ float Sum(float4 a) { return (a.x + a.y) + (a.z + a.w); }

__device__ float WarpSum(float value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffU, value, offset);
  return value;
}

// The row is held in registers: kChunks x 4 values a lane; lanes past the width hold zeros.
template <int kChunks, class Delta>
__global__ void AddNormForwardKernel(AddNorm<Delta> call) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
  if (row >= call.rows) return;
  const int64_t start = row * call.width;
  float4 x[kChunks];
  float total = 0;
  for (int i = 0; i < kChunks; ++i) {
    const int column = i * kColumns + 4 * threadIdx.x;
    x[i] = {0, 0, 0, 0};
    if (column >= call.width) continue;
    x[i] = Load(call.h + start + column);
    if (call.delta != nullptr) {
      x[i] = x[i] + Load(call.delta + start + column);
      Store(call.sum + start + column, x[i]);
    }
    total += Sum(x[i]);
  }
  const float mean = WarpSum(total) / static_cast<float>(call.width);
  float squares = 0;
  for (int i = 0; i < kChunks; ++i) {
    const float4 centred = Affine(x[i], 1, -mean);
    if (i * kColumns + 4 * threadIdx.x < call.width) squares += Sum(centred * centred);
  }
  const float rstd = rsqrtf(WarpSum(squares) / static_cast<float>(call.width) + call.epsilon);
  for (int i = 0; i < kChunks; ++i) {
    const int column = i * kColumns + 4 * threadIdx.x;
    if (column >= call.width) continue;
    float4 y = Affine(x[i], rstd, -mean * rstd) * Load(call.gamma + column);
    if (call.beta != nullptr) y = y + Load(call.beta + column);
    Store(call.normalized + start + column, y);
  }
  if (threadIdx.x == 0) {
    call.mean[row] = mean;
    call.rstd[row] = rstd;
  }
}

// With z = (sum - mean) rstd and g = d_normalized gamma: d = rstd (g - mean(g) - z mean(g z)).
template <int kChunks, class Delta>
__global__ void AddNormBackwardKernel(AddNormGradient<Delta> call) {
  float4 d_gamma[kChunks], d_beta[kChunks];
  for (int i = 0; i < kChunks; ++i) d_gamma[i] = d_beta[i] = {0, 0, 0, 0};
  const float inverse_width = 1.0F / static_cast<float>(call.width);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
  for (int64_t row = first; row < call.rows; row += static_cast<int64_t>(gridDim.x) * kWarps) {
    const int64_t start = row * call.width;
    const float mean = call.mean[row], rstd = call.rstd[row];
    float4 z[kChunks], g[kChunks];
    float sum_g = 0, sum_gz = 0;
    for (int i = 0; i < kChunks; ++i) {
      const int column = i * kColumns + 4 * threadIdx.x;
      z[i] = g[i] = {0, 0, 0, 0};
      if (column >= call.width) continue;
      z[i] = Affine(Load(call.sum + start + column), rstd, -mean * rstd);
      const float4 dy = Load(call.d_normalized + start + column);
      d_gamma[i] = d_gamma[i] + dy * z[i];
      d_beta[i] = d_beta[i] + dy;
      g[i] = dy * Load(call.gamma + column);
      sum_g += Sum(g[i]);
      sum_gz += Sum(g[i] * z[i]);
    }
    const float mean_g = WarpSum(sum_g) * inverse_width, mean_gz = WarpSum(sum_gz) * inverse_width;
    for (int i = 0; i < kChunks; ++i) {
      const int column = i * kColumns + 4 * threadIdx.x;
      if (column >= call.width) continue;
      float4 d = Affine(Affine(g[i], 1, -mean_g) + Affine(z[i], -mean_gz, 0), rstd, 0);
      if (call.d_sum != nullptr) d = d + Load(call.d_sum + start + column);
      Store(call.d_h + start + column, d);
      if (call.d_delta != nullptr) Store(call.d_delta + start + column, d);
    }
  }
  __shared__ float4 part[kWarps][kWarp];
  for (int i = 0; i < 2 * kChunks; ++i) {
    const bool gamma = i < kChunks;
    const int chunk = gamma ? i : i - kChunks;
    part[threadIdx.y][threadIdx.x] = gamma ? d_gamma[chunk] : d_beta[chunk];
    __syncthreads();
    const int column = chunk * kColumns + 4 * threadIdx.x;
    if (threadIdx.y == 0 && column < call.width) {
      float4 sum = part[0][threadIdx.x];
      for (int warp = 1; warp < kWarps; ++warp) sum = sum + part[warp][threadIdx.x];
      Store((gamma ? call.d_gamma : call.d_beta) + blockIdx.x * call.width + column, sum);
    }
    __syncthreads();
  }
}

// Calls launch.operator()<kChunks>() with the smallest number of chunks that holds a row.
template <int kChunks = 1, class Launch>
void WithChunks(int64_t width, const Launch& launch) {
  if constexpr (kChunks * kColumns < kLargestNormWidth) {
    constexpr int kNext = kChunks < 4 ? kChunks + 1 : kChunks < 8 ? kChunks + 2 : 2 * kChunks;
    if (width > kChunks * kColumns) return WithChunks<kNext>(width, launch);
  }
  launch.template operator()<kChunks>();
}

template <class T>
__device__ T BlockReduce(T value, T* shared, T (*combine)(T, T)) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value = combine(value, T::Shuffle(value, offset));
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = shared[0];
  for (int warp = 1; warp < kCrossThreads / kWarp; ++warp) value = combine(value, shared[warp]);
  return value;
}

// exp-sums are kept relative to their largest term.
struct LogSum {
  float largest, sum;
  static __device__ LogSum Shuffle(LogSum v, int offset) {
    return {__shfl_xor_sync(0xffffffffU, v.largest, offset), __shfl_xor_sync(0xffffffffU, v.sum, offset)};
  }
  static __device__ LogSum Combine(LogSum a, LogSum b) {
    const float largest = fmaxf(a.largest, b.largest);
    return {largest, a.sum * __expf(a.largest - largest) + b.sum * __expf(b.largest - largest)};
  }
};

__global__ void CrossEntropyForwardKernel(const Bf16* logits, const int64_t* labels, int64_t classes, float* loss,
                                          float* log_sum) {
  const Bf16* row = logits + static_cast<int64_t>(blockIdx.x) * classes;
  LogSum own{-1e30F, 0};
  for (int64_t c = 8 * static_cast<int64_t>(threadIdx.x); c < classes; c += 8 * kCrossThreads) {
    const float4 a = Load(row + c), b = Load(row + c + 4);
    const float top = fmaxf(fmaxf(fmaxf(a.x, a.y), fmaxf(a.z, a.w)), fmaxf(fmaxf(b.x, b.y), fmaxf(b.z, b.w)));
    const float largest = fmaxf(own.largest, top);
    const float here = __expf(a.x - largest) + __expf(a.y - largest) + __expf(a.z - largest) + __expf(a.w - largest) +
                       __expf(b.x - largest) + __expf(b.y - largest) + __expf(b.z - largest) + __expf(b.w - largest);
    own = {largest, own.sum * __expf(own.largest - largest) + here};
  }
  __shared__ LogSum shared[kCrossThreads / kWarp];
  const LogSum all = BlockReduce(own, shared, LogSum::Combine);
  if (threadIdx.x != 0) return;
  const float value = all.largest + logf(all.sum);
  log_sum[blockIdx.x] = value;
  loss[blockIdx.x] = value - __bfloat162float(row[labels[blockIdx.x]]);
}

__global__ void CrossEntropyBackwardKernel(const Bf16* logits, const int64_t* labels, const float* log_sum,
                                           const float* scale, int64_t classes, Bf16* d_logits) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * classes;
  const float shift = log_sum[blockIdx.x], factor = *scale;
  const int64_t label = labels[blockIdx.x];
  for (int64_t c = 4 * static_cast<int64_t>(threadIdx.x); c < classes; c += 4 * kCrossThreads) {
    const float4 l = Load(logits + start + c);
    float4 p = {__expf(l.x - shift), __expf(l.y - shift), __expf(l.z - shift), __expf(l.w - shift)};
    if (label == c) p.x -= 1;
    if (label == c + 1) p.y -= 1;
    if (label == c + 2) p.z -= 1;
    if (label == c + 3) p.w -= 1;
    Store(d_logits + start + c, Affine(p, factor, 0));
  }
}

}  // namespace

template <class Delta>
void AddNormForward(const AddNorm<Delta>& call, cudaStream_t stream) {
  if (call.rows == 0) return;
  const auto blocks = static_cast<unsigned>((call.rows + kWarps - 1) / kWarps);
  WithChunks(call.width,
             [&]<int kChunks>() { AddNormForwardKernel<kChunks><<<blocks, dim3(kWarp, kWarps), 0, stream>>>(call); });
}

int64_t AddNormBlocks(int64_t rows) { return std::clamp<int64_t>((rows + kWarps - 1) / kWarps, 1, 264); }

template <class Delta>
void AddNormBackward(const AddNormGradient<Delta>& call, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(AddNormBlocks(call.rows));
  WithChunks(call.width,
             [&]<int kChunks>() { AddNormBackwardKernel<kChunks><<<blocks, dim3(kWarp, kWarps), 0, stream>>>(call); });
}

template void AddNormForward(const AddNorm<float>&, cudaStream_t);
template void AddNormForward(const AddNorm<Bf16>&, cudaStream_t);
template void AddNormBackward(const AddNormGradient<float>&, cudaStream_t);
template void AddNormBackward(const AddNormGradient<Bf16>&, cudaStream_t);

void CrossEntropyForward(const Bf16* logits, const int64_t* labels, int64_t rows, int64_t classes, float* loss,
                         float* log_sum, cudaStream_t stream) {
  if (rows == 0) return;
  CrossEntropyForwardKernel<<<static_cast<unsigned>(rows), kCrossThreads, 0, stream>>>(logits, labels, classes, loss,
                                                                                       log_sum);
}

void CrossEntropyBackward(const Bf16* logits, const int64_t* labels, const float* log_sum, const float* scale,
                          int64_t rows, int64_t classes, Bf16* d_logits, cudaStream_t stream) {
  if (rows == 0) return;
  CrossEntropyBackwardKernel<<<static_cast<unsigned>(rows), kCrossThreads, 0, stream>>>(logits, labels, log_sum, scale,
                                                                                        classes, d_logits);
}

}  // namespace grove::nn::cuda
