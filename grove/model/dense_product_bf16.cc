// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The dense product with the instructions of AVX512-BF16, which Highway 1.0.3 does not have: 32 products to an
// instruction, twice those of fp32, and half the bytes of weights.
#include <algorithm>
#include <cstring>

#include "grove/base/check.h"
#include "grove/model/dense_panels.h"
#include "grove/model/row_ops.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define GROVE_BF16_PANELS 1
#include <immintrin.h>
#else
#define GROVE_BF16_PANELS 0
#endif

namespace grove {

// [panels, in / 2 rounded up, 32, 2]: one step of the sum takes a pair of inputs.
AlignedArray<Bf16> PackBf16Panels(const Bf16* weights, size_t in, size_t out) {
  const size_t steps = RoundUpTo(2, in);
  AlignedArray<Bf16> packed(RoundUpTo(kPanelColumns, out) * steps);
  for (size_t o = 0; o < out; ++o) {
    const Bf16* row = weights + o * in;
    Bf16* to = packed.data() + o / kPanelColumns * steps * kPanelColumns + o % kPanelColumns * 2;
    for (size_t i = 0; i + 2 <= in; i += 2, to += 2 * kPanelColumns) std::memcpy(to, row + i, 2 * sizeof(Bf16));
    if (in % 2 != 0) *to = row[in - 1];
  }
  return packed;
}

#if GROVE_BF16_PANELS

bool HasBf16Pairs() { return __builtin_cpu_supports("avx512bf16") != 0; }

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma,avx2")

namespace {

void Store(__m256bh values, Bf16* to) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)values); }

// An odd end is padded with 0.
void RoundRow(const float* x, size_t count, Bf16* to) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    Store(_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i)), to + i);
  }
  const __mmask16 rest = static_cast<__mmask16>((1u << (count - i)) - 1);
  Store(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, x + i)), to + i);  // rows have room for it
}

template <size_t kTile>
void RunTile(const Bf16* x, size_t x_stride, const Bf16* panel, size_t steps, const float* bias, float* y,
             size_t y_stride) {
  // Every loop over rows is unrolled, or GCC 12 keeps the sums in memory.
  __m512 sums[kTile][2];
#pragma GCC unroll 12
  for (size_t r = 0; r < kTile; ++r) {
    sums[r][0] = _mm512_loadu_ps(bias);
    sums[r][1] = _mm512_loadu_ps(bias + 16);
  }
  for (size_t k = 0; k < steps; ++k, panel += 2 * kPanelColumns) {
    const auto w0 = (__m512bh)_mm512_loadu_si512(panel), w1 = (__m512bh)_mm512_loadu_si512(panel + 32);
#pragma GCC unroll 12
    for (size_t r = 0; r < kTile; ++r) {
      int pair;
      std::memcpy(&pair, x + r * x_stride + 2 * k, sizeof(pair));
      const auto value = (__m512bh)_mm512_set1_epi32(pair);
      sums[r][0] = _mm512_dpbf16_ps(sums[r][0], value, w0);
      sums[r][1] = _mm512_dpbf16_ps(sums[r][1], value, w1);
    }
  }
#pragma GCC unroll 12
  for (size_t r = 0; r < kTile; ++r) {
    _mm512_storeu_ps(y + r * y_stride, sums[r][0]);
    _mm512_storeu_ps(y + r * y_stride + 16, sums[r][1]);
  }
}

using TileFunction = void (*)(const Bf16*, size_t, const Bf16*, size_t, const float*, float*, size_t);
constexpr TileFunction kTiles[kMaxTileRows + 1] = {nullptr,     RunTile<1>,  RunTile<2>, RunTile<3>, RunTile<4>,
                                                   RunTile<5>,  RunTile<6>,  RunTile<7>, RunTile<8>, RunTile<9>,
                                                   RunTile<10>, RunTile<11>, RunTile<12>};

}  // namespace

void ToBf16Rows(const float* x, size_t x_stride, size_t rows, size_t in, Bf16* to) {
  for (size_t r = 0; r < rows; ++r) RoundRow(x + r * x_stride, in, to + r * Bf16RowStride(in));
}

void RunBf16Panels(const DensePanels& task) {
  const size_t steps = RoundUpTo(2, task.in) / 2;
  const auto* x = static_cast<const Bf16*>(task.x);
  alignas(64) float edge[kMaxTileRows * kPanelColumns];
  for (size_t column = 0; column < task.columns; column += kPanelColumns) {
    const Bf16* panel = static_cast<const Bf16*>(task.weights) + column * 2 * steps;
    const size_t columns = std::min(kPanelColumns, task.columns - column);
    const size_t tiles_count = (task.rows + kMaxTileRows - 1) / kMaxTileRows, bytes = kPanelColumns * 2 * 2 * steps;
    const bool more = column + kPanelColumns < task.columns;
    for (size_t row = 0; row < task.rows; row += kMaxTileRows) {
      if (more) PrefetchPart(reinterpret_cast<const char*>(panel) + bytes, bytes, row / kMaxTileRows, tiles_count);
      const size_t rows = std::min(kMaxTileRows, task.rows - row);
      float* y = task.y + row * task.y_stride + column;
      const bool whole = columns == kPanelColumns;
      kTiles[rows](x + row * task.x_stride, task.x_stride, panel, steps, task.bias + column, whole ? y : edge,
                   whole ? task.y_stride : kPanelColumns);
      for (size_t r = 0; !whole && r < rows; ++r) std::copy_n(edge + r * kPanelColumns, columns, y + r * task.y_stride);
    }
  }
  if (task.activation == DenseActivation::kNone) return;
  const Activation activation = task.activation == DenseActivation::kGelu ? Activation::kGelu : Activation::kRelu;
  for (size_t r = 0; r < task.rows; ++r) ActivateInPlace(activation, task.columns, task.y + r * task.y_stride);
}

#pragma GCC pop_options

#else

bool HasBf16Pairs() { return false; }
void ToBf16Rows(const float*, size_t, size_t, size_t, Bf16*) { GROVE_CHECK(!"only where HasBf16Pairs()"); }
void RunBf16Panels(const DensePanels&) { GROVE_CHECK(!"only where HasBf16Pairs()"); }

#endif

}  // namespace grove
