// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// CUDA kernels of nn/sparse_rows.h: products with a few rows of a large table for each token, without gathering them.
// fp32, row-major, width a multiple of 4, rows on 16 bytes; queued on `stream`.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace grove::nn::cuda {

struct SparseRows {
  int64_t tokens, n, width;
  const int64_t* rows;  // [tokens, n], of the table
};

// dots[t, j] = table[rows[t, j]] . x[t]
void RowDots(const SparseRows& call, const float* table, const float* x, float* dots, cudaStream_t stream);
// sums[t] = sum over j of weights[t, j] table[rows[t, j]], j ascending
void RowSums(const SparseRows& call, const float* table, const float* weights, float* sums, cudaStream_t stream);
// gradient[rows[t, j]] += weights[t, j] vectors[t], in no fixed order
void RowScatter(const SparseRows& call, const float* weights, const float* vectors, float* gradient,
                cudaStream_t stream);

}  // namespace grove::nn::cuda
