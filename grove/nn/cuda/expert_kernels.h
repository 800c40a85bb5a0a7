// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// CUDA kernels around the grouped matrix products of gated experts (nn/grouped_experts.h): tokens are copied into the
// order of their experts, multiplied there, and summed back. All matrices are bf16 and row-major, rows start on 16
// bytes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace grove::nn::cuda {

constexpr int64_t kExtra = 8;  // columns appended to a row: the first multiplies the bias, the others are 0

// Visits into expert order in three steps: counts [experts, OrderSegments(visits)] of the visits, numbered as in
// `chosen` [visits]; the caller turns them into running sums, `ends`; then slot and row_of, each other's inverse.
// Stable.
constexpr int64_t kSegment = 1024, kMostOrderedExperts = 2048;
int64_t OrderSegments(int64_t visits);
void CountVisits(const int64_t* chosen, int64_t visits, int64_t experts, int* counts, cudaStream_t stream);
void PlaceVisits(const int64_t* chosen, int64_t visits, int64_t experts, const int* ends, int64_t* slot,
                 int64_t* row_of, cudaStream_t stream);

// out[a, 0:width] = x[slot[a] / paths]; out[a, width] = 1 if `with_one`; then zeros. out [rows, width + extra], extra 0
// or kExtra. slot[a] = token x paths + path, for the a-th visit in expert order.
void GatherRows(const __nv_bfloat16* x, const int64_t* slot, int64_t rows, int64_t width, int64_t paths, bool with_one,
                __nv_bfloat16* out, cudaStream_t stream);

// y[t] = sum over paths p of in[row_of[t x paths + p], 0:width], summed in fp32; in [.., stride].
void CombineRows(const __nv_bfloat16* in, const int64_t* row_of, int64_t tokens, int64_t paths, int64_t width,
                 int64_t stride, __nv_bfloat16* y, cudaStream_t stream);

enum class ExpertActivation { kGelu, kRelu };

// gated[a, j] = gate[slot[a]] act(h[a, j]); gated[a, hidden] = gate; then zeros. h [rows, hidden], gated [rows, hidden
// + kExtra].
void ActivateAndGate(const __nv_bfloat16* h, const float* gate, const int64_t* slot, int64_t rows, int64_t hidden,
                     ExpertActivation activation, __nv_bfloat16* gated, cudaStream_t stream);
// From d_gated: d_h[a, j] = d_gated[a, j] gate act'(h); d_gate[slot[a]] = sum_j d_gated[a, j] act(h[a, j]) + d_gated[a,
// hidden].
void ActivateAndGateBackward(const __nv_bfloat16* h, const float* gate, const int64_t* slot,
                             const __nv_bfloat16* d_gated, int64_t rows, int64_t hidden, ExpertActivation activation,
                             __nv_bfloat16* d_h, float* d_gate, cudaStream_t stream);

}  // namespace grove::nn::cuda
