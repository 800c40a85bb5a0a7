// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Inside of dense products in bf16 with AVX-512: what follows the sums of a block, its bias and activation, while they
// are in the first-level cache. For files that compile for avx512bf16.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <iterator>

#include "grove/kernels/rounded_gelu.h"
#include "grove/model/dense_panels.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")

namespace grove {

inline constexpr size_t kFloatLanes = 16;

// The lanes of columns [half, columns) of a panel.
inline __mmask16 LanesOf(size_t columns, size_t half) {
  const size_t count = columns > half ? std::min(columns - half, kFloatLanes) : 0;
  return static_cast<__mmask16>((1u << count) - 1);
}

// grove/kernels/rounded_gelu.h
inline __m512 RoundedGelu(__m512 x) {
  const __m512 bounded = _mm512_max_ps(x, _mm512_set1_ps(-kRoundedGeluEnd));
  const __m512 z = _mm512_min_ps(bounded, _mm512_set1_ps(kRoundedGeluEnd));
  const __m512 scale = _mm512_set1_ps(2.0f / (kRoundedGeluEnd * kRoundedGeluEnd));
  const __m512 u = _mm512_fmsub_ps(_mm512_mul_ps(z, z), scale, _mm512_set1_ps(1.0f));
  __m512 sum = _mm512_set1_ps(kRoundedGeluTerms[0]);
#pragma GCC unroll 16
  for (size_t i = 1; i < std::size(kRoundedGeluTerms); ++i) {
    sum = _mm512_fmadd_ps(sum, u, _mm512_set1_ps(kRoundedGeluTerms[i]));
  }
  return _mm512_mul_ps(bounded, _mm512_fmadd_ps(sum, z, _mm512_set1_ps(0.5f)));
}

template <DenseActivation kActivation>
inline __m512 ActivateBf16(__m512 x) {
  if constexpr (kActivation == DenseActivation::kGelu) return RoundedGelu(x);
  return kActivation == DenseActivation::kRelu ? _mm512_max_ps(x, _mm512_setzero_ps()) : x;
}

// Rows and columns of a task's result.
struct FinishedBlock {
  size_t row, rows;
  size_t column, columns;
};

template <DenseActivation kActivation>
inline void FinishBf16(const DensePanels& task, const FinishedBlock& block, const float* values) {
  for (size_t half = 0; half < block.columns; half += kFloatLanes) {
    const __m512 bias = _mm512_loadu_ps(task.bias + block.column + half);
    const __mmask16 lanes = LanesOf(block.columns, half);
    for (size_t r = 0; r < block.rows; ++r) {
      const __m512 sum = _mm512_add_ps(_mm512_load_ps(values + r * kPanelColumns + half), bias);
      const __m512 value = ActivateBf16<kActivation>(sum);
      const size_t to = (block.row + r) * task.y_stride + block.column + half;
      if (task.narrow != nullptr) {
        _mm256_mask_storeu_epi16(task.narrow + to, lanes, (__m256i)_mm512_cvtneps_pbh(value));
      } else {
        _mm512_mask_storeu_ps(task.y + to, lanes, value);
      }
    }
  }
}

// `values`: sums [rows, 32], a cache line aligned, to what the task asks for.
inline void FinishBf16(const DensePanels& task, const FinishedBlock& block, const float* values) {
  switch (task.activation) {
    case DenseActivation::kGelu:
      return FinishBf16<DenseActivation::kGelu>(task, block, values);
    case DenseActivation::kNone:
      return FinishBf16<DenseActivation::kNone>(task, block, values);
    case DenseActivation::kRelu:
      return FinishBf16<DenseActivation::kRelu>(task, block, values);
  }
}

}  // namespace grove
#pragma GCC pop_options
