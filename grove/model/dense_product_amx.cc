// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The dense product of bf16 or int8 with the tile registers of AMX, on the panels of dense_product_bf16.cc and
// dense_product_int8.cc. What follows a product of 32 x 32, its bias and activation, takes about as long as the
// product: it is done at once, while the sums are in the first-level cache.
#include <algorithm>
#include <cstring>
#include <iterator>

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

#include "grove/model/finish_bf16.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")

namespace grove {
namespace {

constexpr size_t kGroupBytes = 4;               // of a row: two bf16 or four integers
constexpr size_t kStepGroups = 16;              // what a tile takes of a row
constexpr size_t kCutGroups = 8 * kStepGroups;  // 16 KiB of a panel
constexpr size_t kRowsAtOnce = 128;
constexpr size_t kSegmentBytes = 1200 << 10;

static_assert(kAmxColumns == kPanelColumns);

constexpr size_t ElementBytes(Quantization precision) { return precision == Quantization::kInt8 ? 1 : 2; }
constexpr size_t Groups(Quantization precision, size_t in) {
  const size_t group = kGroupBytes / ElementBytes(precision);
  return (in + group - 1) / group;
}

// A part of the product: groups [begin, end) of the sums, rows [row, row + rows) of the task, one panel.
struct Part {
  size_t begin, end;
  size_t row, rows;
  size_t column, columns;
  const std::byte* panel;
  const std::byte* ahead;  // the panel that comes next, its share for these rows
  size_t ahead_bytes;
};

void CopyRows(const float* from, size_t from_stride, size_t rows, size_t columns, float* to, size_t to_stride) {
  for (size_t half = 0; half < columns; half += kFloatLanes) {
    const __mmask16 lanes = LanesOf(columns, half);
    for (size_t r = 0; r < rows; ++r) {
      const __m512 values = _mm512_maskz_loadu_ps(lanes, from + r * from_stride + half);
      _mm512_mask_storeu_ps(to + r * to_stride + half, lanes, values);
    }
  }
}

void CopyToResult(const DensePanels& task, const Part& part, const float* values) {
  float* y = task.y + part.row * task.y_stride + part.column;
  CopyRows(values, kPanelColumns, part.rows, part.columns, y, task.y_stride);
}

void FinishInt8(const DensePanels& task, const Part& part, float* values) {
  for (size_t half = 0; half < kPanelColumns; half += kFloatLanes) {
    const __m512 bias = _mm512_loadu_ps(task.bias + part.column + half);
    const __m512 scales = _mm512_loadu_ps(task.column_scales + part.column + half);
    const __m512i excess = _mm512_loadu_si512(task.excess + part.column + half);
    for (size_t r = 0; r < part.rows; ++r) {
      float* at = values + r * kPanelColumns + half;
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(at), excess));
      const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(task.row_scales[part.row + r]), scales);
      _mm512_store_ps(at, _mm512_add_ps(_mm512_mul_ps(sum, scale), bias));
    }
  }
  if (task.activation != DenseActivation::kNone) {
    const Activation kind = task.activation == DenseActivation::kGelu ? Activation::kGelu : Activation::kRelu;
    ExactActivate(kind, 1.0f, values, part.rows * kPanelColumns, values);
  }
  CopyToResult(task, part, values);
}

// A block of the product but for what it multiplies: what is asked for meanwhile.
AmxBlock AheadOf(const DensePanels& task, size_t row, size_t rows, size_t column) {
  const size_t at = row * task.y_stride + column, element = task.narrow != nullptr ? sizeof(Bf16) : sizeof(float);
  AmxBlock block;
  block.result = task.narrow != nullptr ? static_cast<void*>(task.narrow + at) : task.y + at;
  block.result_stride = task.y_stride * element;
  block.result_bytes = kPanelColumns * element;
  block.result_rows = rows;
  return block;
}

// Cut so that the piece of the panel in work and a tile's rows stay in the first-level cache. sums [rows, 32], added to
// unless the part begins the sum.
void AddPart(AmxTiles& tiles, Quantization precision, const DensePanels& task, const Part& part, float* sums) {
  const size_t row_bytes = task.x_stride * ElementBytes(precision), groups = part.end - part.begin;
  const size_t cuts = (groups + kCutGroups - 1) / kCutGroups, blocks = (part.rows + kAmxRows - 1) / kAmxRows;
  const size_t depth = RoundUpTo(kStepGroups, (groups + cuts - 1) / cuts);
  const size_t share = RoundUpTo(kCacheLineBytes, part.ahead_bytes / (cuts * blocks) + 1);
  const std::byte *x = static_cast<const std::byte*>(task.x) + part.row * row_bytes, *ahead = part.ahead;
  for (size_t begin = part.begin; begin < part.end; begin += depth) {
    for (size_t r = 0; r < part.rows; r += kAmxRows) {
      const size_t rows = std::min(kAmxRows, part.rows - r);
      AmxBlock block = AheadOf(task, part.row + r, begin + depth < part.end ? 0 : rows, part.column);
      block.a = x + r * row_bytes + begin * kGroupBytes;
      block.a_stride = row_bytes;
      block.b = part.panel + begin * kPanelColumns * kGroupBytes;
      block.b_stride = kPanelColumns * kGroupBytes;
      block.c = sums + r * kPanelColumns;
      block.c_stride = kPanelColumns * sizeof(float);
      block.groups = std::min(depth, part.end - begin);
      block.ahead = ahead;
      block.ahead_bytes = std::min<size_t>(share, part.ahead + part.ahead_bytes - ahead);
      tiles.Multiply(precision, block, rows, kPanelColumns, begin > 0);
      ahead += block.ahead_bytes;
    }
  }
}

// Sums that are not complete lie in y.
void RunPart(AmxTiles& tiles, Quantization precision, const DensePanels& task, const Part& part) {
  alignas(64) float values[kRowsAtOnce * kPanelColumns];
  if (part.begin > 0) {
    const float* y = task.y + part.row * task.y_stride + part.column;
    CopyRows(y, task.y_stride, part.rows, part.columns, values, kPanelColumns);
  }
  if (part.end == 0) {  // an empty sum
    std::fill_n(values, part.rows * kPanelColumns, 0.0f);
  } else {
    AddPart(tiles, precision, task, part, values);
  }
  if (part.end < Groups(precision, task.in)) return CopyToResult(task, part, values);
  precision == Quantization::kInt8 ? FinishInt8(task, part, values)
                                   : FinishBf16(task, {part.row, part.rows, part.column, part.columns}, values);
}

}  // namespace

void RunAmxPanels(Quantization precision, const DensePanels& task) {
  const size_t groups = Groups(precision, task.in), panel_bytes = groups * kPanelColumns * kGroupBytes;
  // Very long rows are taken in segments, so that those of all rows stay in the second-level cache for all panels.
  const size_t most = (task.rows * groups * kGroupBytes + kSegmentBytes - 1) / kSegmentBytes;
  const size_t segments = task.narrow != nullptr ? 1 : std::max<size_t>(most, 1);  // sums cannot wait in narrow rows
  const size_t depth = RoundUpTo(kStepGroups, (groups + segments - 1) / segments);
  AmxTiles tiles;
  size_t begin = 0;
  do {  // once for an empty sum, too
    const size_t end = std::min(begin + depth, groups);
    const auto* panel = static_cast<const std::byte*>(task.weights);
    for (size_t column = 0; column < task.columns; column += kPanelColumns, panel += panel_bytes) {
      const bool more = column + kPanelColumns < task.ahead_columns;
      const size_t ahead_bytes = more ? (end - begin) * kPanelColumns * kGroupBytes : 0;
      for (size_t row = 0; row < task.rows; row += kRowsAtOnce) {
        const size_t rows = std::min(kRowsAtOnce, task.rows - row);
        const size_t first = ahead_bytes * row / task.rows, last = ahead_bytes * (row + rows) / task.rows;
        const std::byte* next = panel + panel_bytes + begin * kPanelColumns * kGroupBytes;
        const size_t columns = std::min(kPanelColumns, task.columns - column);
        RunPart(tiles, precision, task, {begin, end, row, rows, column, columns, panel, next + first, last - first});
      }
    }
    begin += depth;
  } while (begin < groups);
}

}  // namespace grove
#pragma GCC pop_options

#else

namespace grove {
void RunAmxPanels(Quantization, const DensePanels&) { GROVE_CHECK(!"only where ActiveTargetHasTiles()"); }
}  // namespace grove

#endif
