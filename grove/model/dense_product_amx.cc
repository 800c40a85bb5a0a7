// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The dense product of bf16 or int8 with the tile registers of AMX, on the panels of dense_product_bf16.cc and
// dense_product_int8.cc. What follows a product of 32 x 32, its bias and activation, takes about as long as the
// product: it is done at once, while the sums are in the first-level cache.
#include <algorithm>
#include <cstring>

#include "grove/base/check.h"
#include "grove/model/dense_panels.h"
#include "grove/model/row_ops.h"
#include "grove/quant/amx_block.h"
#include "grove/quant/exact_activation.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own header: registers that an intrinsic leaves undefined on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")

namespace grove {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kGroupBytes = 4;  // of a row: two bf16 or four integers

static_assert(kAmxColumns == kPanelColumns);

// One product's sums [rows, 32] to values, in place.
void FinishBf16(const DensePanels& task, size_t rows, size_t column, float* values) {
  for (size_t half = 0; half < kPanelColumns; half += kLanes) {
    const __m512 bias = _mm512_loadu_ps(task.bias + column + half);
    for (size_t r = 0; r < rows; ++r) {
      float* at = values + r * kPanelColumns + half;
      _mm512_store_ps(at, _mm512_add_ps(_mm512_load_ps(at), bias));
    }
  }
}

void FinishInt8(const DensePanels& task, size_t row, size_t rows, size_t column, float* values) {
  for (size_t half = 0; half < kPanelColumns; half += kLanes) {
    const __m512 bias = _mm512_loadu_ps(task.bias + column + half);
    const __m512 scales = _mm512_loadu_ps(task.column_scales + column + half);
    const __m512i offsets = _mm512_loadu_si512(task.column_offsets + column + half);
    for (size_t r = 0; r < rows; ++r) {
      float* at = values + r * kPanelColumns + half;
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_load_si512(at), offsets));
      const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(task.row_scales[row + r]), scales);
      _mm512_store_ps(at, _mm512_add_ps(_mm512_mul_ps(sum, scale), bias));
    }
  }
}

void Activate(Quantization precision, DenseActivation activation, size_t count, float* values) {
  if (activation == DenseActivation::kNone) return;
  const Activation kind = activation == DenseActivation::kGelu ? Activation::kGelu : Activation::kRelu;
  precision == Quantization::kInt8 ? ExactActivate(kind, 1.0f, values, count, values)
                                   : ActivateInPlace(kind, count, values);
}

void CopyOut(const float* values, size_t rows, size_t columns, float* y, size_t y_stride) {
  if (columns < kPanelColumns) {
    for (size_t r = 0; r < rows; ++r) std::copy_n(values + r * kPanelColumns, columns, y + r * y_stride);
    return;
  }
  for (size_t r = 0; r < rows; ++r, values += kPanelColumns, y += y_stride) {
    _mm512_storeu_ps(y, _mm512_load_ps(values));
    _mm512_storeu_ps(y + kLanes, _mm512_load_ps(values + kLanes));
  }
}

}  // namespace

void RunAmxPanels(Quantization precision, const DensePanels& task) {
  const size_t group = precision == Quantization::kInt8 ? 4 : 2, groups = RoundUpTo(group, task.in) / group;
  const size_t panel_bytes = groups * kPanelColumns * kGroupBytes, element = kGroupBytes / group;
  const size_t tiles_count = (task.rows + kAmxRows - 1) / kAmxRows;
  alignas(64) float values[kAmxRows * kPanelColumns];
  AmxTiles tiles;
  for (size_t column = 0; column < task.columns; column += kPanelColumns) {
    const std::byte* panel = static_cast<const std::byte*>(task.weights) + column / kPanelColumns * panel_bytes;
    const bool more = column + kPanelColumns < task.columns;
    for (size_t row = 0; row < task.rows; row += kAmxRows) {
      if (more) PrefetchPart(panel + panel_bytes, panel_bytes, row / kAmxRows, tiles_count);
      const size_t rows = std::min(kAmxRows, task.rows - row);
      const AmxBlock block{.a = static_cast<const std::byte*>(task.x) + row * task.x_stride * element,
                           .a_stride = task.x_stride * element,
                           .b = panel,
                           .b_stride = kPanelColumns * kGroupBytes,
                           .c = values,
                           .c_stride = kPanelColumns * sizeof(float),
                           .groups = groups};
      tiles.Multiply(precision, block, rows, kPanelColumns);
      precision == Quantization::kInt8 ? FinishInt8(task, row, rows, column, values)
                                       : FinishBf16(task, rows, column, values);
      Activate(precision, task.activation, rows * kPanelColumns, values);
      CopyOut(values, rows, std::min(kPanelColumns, task.columns - column), task.y + row * task.y_stride + column,
              task.y_stride);
    }
  }
}

}  // namespace grove
#pragma GCC pop_options

#else

namespace grove {
void RunAmxPanels(Quantization, const DensePanels&) { GROVE_CHECK(!"only where ActiveTargetHasTiles()"); }
}  // namespace grove

#endif
