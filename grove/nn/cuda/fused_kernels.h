// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// CUDA kernels for what surrounds the matrix products of an encoder block in mixed precision. In eager LibTorch these
// steps are chains of passes over fp32 tensors and cost as much time as the products; here each is one pass.
//
// The residual stream stays fp32, what enters a product is bf16 and sums are fp32. Raw device pointers, row-major;
// calls are queued on `stream` and return at once. Arguments are valid: callers check them (nn/fused_ops.cc).
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace grove::nn::cuda {

constexpr int64_t kLargestNormWidth = 2048;  // and a multiple of 4

// sum = h + delta; normalized = (sum - mean) * rstd * gamma + beta, per row of `width`. Delta is float or
// __nv_bfloat16. delta may be null (then sum is not written: it is h); beta may be null.
template <class Delta>
struct AddNorm {
  int64_t rows, width;
  const float* h;
  const Delta* delta;
  const float *gamma, *beta;
  float epsilon;
  float* sum;
  __nv_bfloat16* normalized;
  float *mean, *rstd;  // [rows], for the backward
};
template <class Delta>
void AddNormForward(const AddNorm<Delta>& call, cudaStream_t stream);

// d_h = d_sum + the norm's share, fp32; d_delta the same in Delta's type. d_sum and d_delta may be null.
// d_gamma, d_beta [AddNormBlocks(rows), width]: partial sums, to be added over the blocks.
template <class Delta>
struct AddNormGradient {
  int64_t rows, width;
  const float* sum;
  const float *gamma, *mean, *rstd;
  const float* d_sum;
  const __nv_bfloat16* d_normalized;
  float* d_h;
  Delta* d_delta;
  float *d_gamma, *d_beta;
};
int64_t AddNormBlocks(int64_t rows);
template <class Delta>
void AddNormBackward(const AddNormGradient<Delta>& call, cudaStream_t stream);

// loss[r] = log sum_c exp(logits[r, c]) - logits[r, label[r]], and that logarithm, both [rows]; classes a multiple
// of 8.
void CrossEntropyForward(const __nv_bfloat16* logits, const int64_t* labels, int64_t rows, int64_t classes, float* loss,
                         float* log_sum, cudaStream_t stream);
// d_logits[r, c] = (exp(logits[r, c] - log_sum[r]) - [c = label[r]]) * *scale
void CrossEntropyBackward(const __nv_bfloat16* logits, const int64_t* labels, const float* log_sum, const float* scale,
                          int64_t rows, int64_t classes, __nv_bfloat16* d_logits, cudaStream_t stream);

}  // namespace grove::nn::cuda
