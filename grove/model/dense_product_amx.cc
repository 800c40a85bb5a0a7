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
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")

namespace grove {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kGroupBytes = 4;               // of a row: two bf16 or four integers
constexpr size_t kStepGroups = 16;              // what a tile takes of a row
constexpr size_t kCutGroups = 8 * kStepGroups;  // 16 KiB of a panel
constexpr size_t kRowsAtOnce = 128;
constexpr size_t kSegmentBytes = 800 << 10;

static_assert(kAmxColumns == kPanelColumns);

constexpr size_t ElementBytes(Quantization precision) { return precision == Quantization::kInt8 ? 1 : 2; }
constexpr size_t Groups(Quantization precision, size_t in) {
  const size_t group = kGroupBytes / ElementBytes(precision);
  return (in + group - 1) / group;
}

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
    const __m512i excess = _mm512_loadu_si512(task.excess + column + half);
    for (size_t r = 0; r < rows; ++r) {
      float* at = values + r * kPanelColumns + half;
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(at), excess));
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

void CopyRows(const float* from, size_t from_stride, size_t rows, size_t columns, float* to, size_t to_stride) {
  for (size_t r = 0; r < rows; ++r, from += from_stride, to += to_stride) {
    if (columns < kPanelColumns) {
      std::copy_n(from, columns, to);
      continue;
    }
    _mm512_storeu_ps(to, _mm512_loadu_ps(from));
    _mm512_storeu_ps(to + kLanes, _mm512_loadu_ps(from + kLanes));
  }
}

void NarrowRows(const float* from, size_t rows, size_t columns, Bf16* to, size_t to_stride) {
  for (size_t r = 0; r < rows; ++r, from += kPanelColumns, to += to_stride) {
    for (size_t half = 0; half < columns; half += kLanes) {
      const auto mask = static_cast<__mmask16>((1u << std::min(columns - half, kLanes)) - 1);
      const auto rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + half));
      _mm256_mask_storeu_epi16(to + half, mask, rounded);
    }
  }
}

// A part of the product: groups [begin, end) of the sums, rows [row, row + rows) of the task, one panel.
struct Part {
  size_t begin, end;
  size_t row, rows;
  size_t column;
  const std::byte* panel;
  const std::byte* ahead;  // the panel that comes next, its share for these rows
  size_t ahead_bytes;
};

// Cut so that the piece of the panel in work and a tile's rows stay in the first-level cache. sums [rows, 32], added to
// unless the part begins the sum.
void AddPart(AmxTiles& tiles, Quantization precision, const DensePanels& task, const Part& part, float* sums) {
  const size_t element = ElementBytes(precision), groups = part.end - part.begin;
  const size_t cuts = (groups + kCutGroups - 1) / kCutGroups, blocks = (part.rows + kAmxRows - 1) / kAmxRows;
  const size_t depth = RoundUpTo(kStepGroups, (groups + cuts - 1) / cuts);
  const size_t share = RoundUpTo(kCacheLineBytes, part.ahead_bytes / (cuts * blocks) + 1);
  const std::byte *x = static_cast<const std::byte*>(task.x) + part.row * task.x_stride * element, *ahead = part.ahead;
  for (size_t begin = part.begin; begin < part.end; begin += depth) {
    for (size_t r = 0; r < part.rows; r += kAmxRows) {
      const size_t asked = std::min<size_t>(share, part.ahead + part.ahead_bytes - ahead);
      const AmxBlock block{.a = x + r * task.x_stride * element + begin * kGroupBytes,
                           .a_stride = task.x_stride * element,
                           .b = part.panel + begin * kPanelColumns * kGroupBytes,
                           .b_stride = kPanelColumns * kGroupBytes,
                           .c = sums + r * kPanelColumns,
                           .c_stride = kPanelColumns * sizeof(float),
                           .groups = std::min(depth, part.end - begin),
                           .ahead = ahead,
                           .ahead_bytes = asked};
      tiles.Multiply(precision, block, std::min(kAmxRows, part.rows - r), kPanelColumns, begin > 0);
      ahead += asked;
    }
  }
}

// Sums that are not complete lie in y.
void RunPart(AmxTiles& tiles, Quantization precision, const DensePanels& task, const Part& part) {
  alignas(64) float values[kRowsAtOnce * kPanelColumns];
  const size_t columns = std::min(kPanelColumns, task.columns - part.column);
  const size_t at = part.row * task.y_stride + part.column;
  float* y = task.narrow != nullptr ? nullptr : task.y + at;
  if (part.begin > 0) CopyRows(y, task.y_stride, part.rows, columns, values, kPanelColumns);
  AddPart(tiles, precision, task, part, values);
  if (part.end == Groups(precision, task.in)) {
    precision == Quantization::kInt8 ? FinishInt8(task, part.row, part.rows, part.column, values)
                                     : FinishBf16(task, part.rows, part.column, values);
    Activate(precision, task.activation, part.rows * kPanelColumns, values);
  }
  if (task.narrow != nullptr) return NarrowRows(values, part.rows, columns, task.narrow + at, task.y_stride);
  CopyRows(values, kPanelColumns, part.rows, columns, y, task.y_stride);
}

}  // namespace

void RunAmxPanels(Quantization precision, const DensePanels& task) {
  const size_t groups = Groups(precision, task.in), panel_bytes = groups * kPanelColumns * kGroupBytes;
  // Long rows are taken in segments, so that those of all rows stay in the second-level cache for all panels.
  const size_t most = (task.rows * groups * kGroupBytes + kSegmentBytes - 1) / kSegmentBytes;
  const size_t segments = task.narrow != nullptr ? 1 : most;  // sums cannot wait in narrow rows
  const size_t depth = RoundUpTo(kStepGroups, (groups + segments - 1) / segments);
  AmxTiles tiles;
  for (size_t begin = 0; begin < groups; begin += depth) {
    const size_t end = std::min(begin + depth, groups);
    const auto* panel = static_cast<const std::byte*>(task.weights);
    for (size_t column = 0; column < task.columns; column += kPanelColumns, panel += panel_bytes) {
      const bool more = column + kPanelColumns < task.columns;
      const size_t ahead_bytes = more ? (end - begin) * kPanelColumns * kGroupBytes : 0;
      for (size_t row = 0; row < task.rows; row += kRowsAtOnce) {
        const size_t rows = std::min(kRowsAtOnce, task.rows - row);
        const size_t first = ahead_bytes * row / task.rows, last = ahead_bytes * (row + rows) / task.rows;
        const std::byte* next = panel + panel_bytes + begin * kPanelColumns * kGroupBytes;
        RunPart(tiles, precision, task, {begin, end, row, rows, column, panel, next + first, last - first});
      }
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
