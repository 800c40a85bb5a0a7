// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The dense product with the instructions of AVX512-BF16, which Highway 1.0.3 does not have: 32 products to an
// instruction, twice those of fp32, and half the bytes of weights.
#include <algorithm>
#include <cstring>

#include "grove/base/check.h"
#include "grove/kernels/tile_rows.h"
#include "grove/model/dense_panels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GROVE_BF16_PANELS 1
// GCC 12 warns of its own header: registers that an intrinsic leaves undefined on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "grove/model/finish_bf16.h"
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

// kSteps steps of the sum. Every loop over rows is unrolled, or GCC 12 keeps the sums in memory.
template <size_t kSteps, size_t kRows>
[[gnu::always_inline]] inline void AddSteps(TileRows<Bf16, kRows>& x, const Bf16* panel, __m512 (&sums)[kRows][2]) {
#pragma GCC unroll 4
  for (size_t s = 0; s < kSteps; ++s, panel += 2 * kPanelColumns) {
    const auto w0 = (__m512bh)_mm512_loadu_si512(panel), w1 = (__m512bh)_mm512_loadu_si512(panel + kPanelColumns);
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      int pair;
      std::memcpy(&pair, x.row(r) + 2 * s, sizeof(pair));
      const auto value = (__m512bh)_mm512_set1_epi32(pair);
      sums[r][0] = _mm512_dpbf16_ps(sums[r][0], value, w0);
      sums[r][1] = _mm512_dpbf16_ps(sums[r][1], value, w1);
    }
  }
  x.Move(2 * kSteps);
}

// to [kRows, 32]; a part of the panel that comes next is asked for meanwhile.
template <size_t kRows>
void RunTile(const Bf16* x, size_t x_stride, const Bf16* panel, size_t steps, const char* ahead, size_t ahead_bytes,
             float* to) {
  constexpr size_t kAtOnce = 4;
  __m512 sums[kRows][2];
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
  TileRows<Bf16, kRows> rows(x, x_stride);
  const size_t whole = steps / kAtOnce, ask = ahead_bytes / std::max<size_t>(1, whole);
  for (size_t k = 0; k < whole; ++k, panel += kAtOnce * 2 * kPanelColumns, ahead += ask) {
    __builtin_prefetch(ahead, 0, 2);
    for (size_t more = kCacheLineBytes; more < ask; more += kCacheLineBytes) __builtin_prefetch(ahead + more, 0, 2);
    AddSteps<kAtOnce>(rows, panel, sums);
  }
  for (size_t k = whole * kAtOnce; k < steps; ++k, panel += 2 * kPanelColumns) AddSteps<1>(rows, panel, sums);
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) {
    _mm512_store_ps(to + r * kPanelColumns, sums[r][0]);
    _mm512_store_ps(to + r * kPanelColumns + 16, sums[r][1]);
  }
}

using TileFunction = void (*)(const Bf16*, size_t, const Bf16*, size_t, const char*, size_t, float*);
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
  alignas(64) float sums[kMaxTileRows * kPanelColumns];
  for (size_t column = 0; column < task.columns; column += kPanelColumns) {
    const Bf16* panel = static_cast<const Bf16*>(task.weights) + column * 2 * steps;
    const size_t columns = std::min(kPanelColumns, task.columns - column);
    const size_t tiles_count = (task.rows + kMaxTileRows - 1) / kMaxTileRows, bytes = kPanelColumns * 2 * 2 * steps;
    const bool more = column + kPanelColumns < task.ahead_columns;
    const auto* next = reinterpret_cast<const char*>(panel) + bytes;
    for (size_t row = 0; row < task.rows; row += kMaxTileRows) {
      const size_t rows = std::min(kMaxTileRows, task.rows - row), tile = row / kMaxTileRows;
      const size_t begin = more ? bytes * tile / tiles_count : 0, end = more ? bytes * (tile + 1) / tiles_count : 0;
      kTiles[rows](x + row * task.x_stride, task.x_stride, panel, steps, next + begin, end - begin, sums);
      FinishBf16(task, {row, rows, column, columns}, sums);
    }
  }
}

#pragma GCC pop_options

#else

bool HasBf16Pairs() { return false; }
void ToBf16Rows(const float*, size_t, size_t, size_t, Bf16*) { GROVE_CHECK(!"only where HasBf16Pairs()"); }
void RunBf16Panels(const DensePanels&) { GROVE_CHECK(!"only where HasBf16Pairs()"); }

#endif

}  // namespace grove
