// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The dense product of 8-bit integers: weights rounded per column when they are packed, rows as they come.
//
//   y = (sum of (q + 128) w - 128 sum of w) s_row s_column + bias,   q = round(x / s_row), w = round(weight / s_column)
//
// The multiplication of AVX512-VNNI takes unsigned times signed bytes, hence the 128. With AVX2 (quant/int8_avx2-inl.h)
// rows are signed, and nothing is to be taken off.
#include <algorithm>
#include <cstring>
#include <optional>

#include "grove/kernels/target.h"
#include "grove/model/dense_panels.h"
#include "grove/model/row_ops.h"
#include "grove/quant/exact_activation.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define GROVE_VNNI_PANELS 1
#include <immintrin.h>
#else
#define GROVE_VNNI_PANELS 0
#endif

namespace grove {
namespace {

constexpr size_t kGroup = 4;  // inputs of one step
static_assert(kPanelColumns == kTileColumns);

using Tile = Int8Tile;

// sums [rows, 32]. The same integers as any other way to add them up.
template <size_t kRows>
void PortableTile(const uint8_t* x, size_t x_stride, const int8_t* panel, size_t steps, int32_t* sums) {
  std::fill(sums, sums + kRows * kPanelColumns, 0);
  for (size_t k = 0; k < steps; ++k, panel += kGroup * kPanelColumns) {
    for (size_t r = 0; r < kRows; ++r) {
      const uint8_t* four = x + r * x_stride + kGroup * k;
      int32_t* to = sums + r * kPanelColumns;
      for (size_t c = 0; c < kPanelColumns; ++c) {
        for (size_t i = 0; i < kGroup; ++i) to[c] += int32_t{four[i]} * int32_t{panel[c * kGroup + i]};
      }
    }
  }
}

#define GROVE_TILES(name)                                                                                         \
  {                                                                                                               \
    nullptr, name<1>, name<2>, name<3>, name<4>, name<5>, name<6>, name<7>, name<8>, name<9>, name<10>, name<11>, \
        name<12>                                                                                                  \
  }
constexpr Tile kPortableTiles[kMaxTileRows + 1] = GROVE_TILES(PortableTile);

#if GROVE_VNNI_PANELS

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni")

template <size_t kRows>
void VnniTile(const uint8_t* x, size_t x_stride, const int8_t* panel, size_t steps, int32_t* sums) {
  // Every loop over rows is unrolled, or GCC 12 keeps the sums in memory.
  __m512i tile[kRows][2];
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) tile[r][0] = tile[r][1] = _mm512_setzero_si512();
  for (size_t k = 0; k < steps; ++k, panel += kGroup * kPanelColumns) {
    const __m512i w0 = _mm512_loadu_si512(panel), w1 = _mm512_loadu_si512(panel + 64);
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      int four;
      std::memcpy(&four, x + r * x_stride + kGroup * k, sizeof(four));
      const __m512i value = _mm512_set1_epi32(four);
      tile[r][0] = _mm512_dpbusd_epi32(tile[r][0], value, w0);
      tile[r][1] = _mm512_dpbusd_epi32(tile[r][1], value, w1);
    }
  }
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) {
    _mm512_storeu_si512(sums + r * kPanelColumns, tile[r][0]);
    _mm512_storeu_si512(sums + r * kPanelColumns + 16, tile[r][1]);
  }
}

#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2")
}  // namespace
}  // namespace grove
#include "grove/quant/int8_avx2-inl.h"
namespace grove {
namespace {

constexpr size_t kAvx2Steps = 128;  // of a panel that stay in the first-level cache for all rows of a tile: 16 KiB

// Rows are signed bytes.
template <size_t kRows>
void Avx2Tile(const uint8_t* x, size_t x_stride, const int8_t* panel, size_t steps, int32_t* sums) {
  if (steps == 0) std::fill(sums, sums + kRows * kPanelColumns, 0);
  for (size_t begin = 0; begin < steps; begin += kAvx2Steps) {
    const uint8_t* rows[kRows];
    for (size_t r = 0; r < kRows; ++r) rows[r] = x + r * x_stride + kGroup * begin;
    for (size_t column = 0; column < kPanelColumns; column += 16) {
      const Int8Weights block{panel + kGroup * (begin * kPanelColumns + column), kGroup * kPanelColumns,
                              std::min(kAvx2Steps, steps - begin)};
      Int8BlockColumns(rows, kRows, block, begin != 0, sums + column, kPanelColumns);
    }
  }
}

#pragma GCC pop_options

constexpr Tile kVnniTiles[kMaxTileRows + 1] = GROVE_TILES(VnniTile);
constexpr Tile kAvx2Tiles[kMaxTileRows + 1] = GROVE_TILES(Avx2Tile);

// What is added to rows for them.
int32_t ShiftOf(const Tile* tiles) { return tiles == kAvx2Tiles ? 0 : 128; }

const Tile* BestTiles() {
  const bool avx3 = ActiveTarget().starts_with("AVX3");
  const bool vnni = __builtin_cpu_supports("avx512vnni") != 0 && __builtin_cpu_supports("avx512bw") != 0;
  if (avx3 && vnni) return kVnniTiles;
  return avx3 || ActiveTarget() == "AVX2" ? kAvx2Tiles : kPortableTiles;
}

#else

int32_t ShiftOf(const Tile*) { return 128; }

const Tile* BestTiles() { return kPortableTiles; }

#endif

std::optional<Activation> KernelActivation(DenseActivation activation) {
  if (activation == DenseActivation::kNone) return std::nullopt;
  return activation == DenseActivation::kGelu ? Activation::kGelu : Activation::kRelu;
}

}  // namespace

Int8Panels PackInt8Panels(const int8_t* weights, const float* scales, size_t in, size_t out) {
  const size_t columns = RoundUpTo(kPanelColumns, out), steps = RoundUpTo(kGroup, in);
  Int8Panels packed{AlignedArray<int8_t>(columns * steps), AlignedArray<float>(columns), AlignedArray<int32_t>(columns),
                    BestTiles()};
  const int32_t shift = ShiftOf(packed.tiles);
  packed.shifted = shift != 0;
  std::copy_n(scales, out, packed.scales.data());
  for (size_t o = 0; o < out; ++o) {
    const int8_t* row = weights + o * in;
    int8_t* to = packed.weights.data() + o / kPanelColumns * steps * kPanelColumns + o % kPanelColumns * kGroup;
    size_t i = 0;
    for (; i + kGroup <= in; i += kGroup, to += kGroup * kPanelColumns) std::memcpy(to, row + i, kGroup);
    std::copy_n(row + i, in - i, to);
    int32_t sum = 0;
    for (i = 0; i < in; ++i) sum += row[i];
    packed.offsets[o] = -shift * sum;
  }
  return packed;
}

void ToInt8Rows(const Int8Panels& panels, const float* x, size_t x_stride, size_t rows, size_t in, uint8_t* to,
                float* scales) {
  for (size_t r = 0; r < rows; ++r, to += Int8RowStride(in)) {
    RoundToBytes(x + r * x_stride, in, scales[r], to);
    for (size_t i = 0; !panels.shifted && i < in; ++i) to[i] ^= 0x80;
  }
}

void RunInt8Panels(const DensePanels& task) {
  const size_t steps = RoundUpTo(kGroup, task.in) / kGroup;
  const auto* x = static_cast<const uint8_t*>(task.x);
  const Tile* tiles = task.int8_tiles;
  alignas(64) int32_t sums[kMaxTileRows * kPanelColumns];
  SumsTile tile{.rows = 0,
                .columns = 0,
                .sums = sums,
                .row_scales = nullptr,
                .activation = KernelActivation(task.activation),
                .y = nullptr,
                .y_stride = task.y_stride};
  for (size_t column = 0; column < task.columns; column += kPanelColumns) {
    const int8_t* panel = static_cast<const int8_t*>(task.weights) + column * kGroup * steps;
    const SumScales scales{-1, 1.0f, task.column_offsets + column, task.column_scales + column, task.bias + column};
    const size_t tiles_count = (task.rows + kMaxTileRows - 1) / kMaxTileRows, bytes = kPanelColumns * kGroup * steps;
    const bool more = column + kPanelColumns < task.columns;
    tile.columns = std::min(kPanelColumns, task.columns - column);
    for (size_t row = 0; row < task.rows; row += kMaxTileRows) {
      if (more) PrefetchPart(reinterpret_cast<const char*>(panel) + bytes, bytes, row / kMaxTileRows, tiles_count);
      tile.rows = std::min(kMaxTileRows, task.rows - row);
      tile.row_scales = task.row_scales + row;
      tile.y = task.y + row * task.y_stride + column;
      tiles[tile.rows](x + row * task.x_stride, task.x_stride, panel, steps, sums);
      ScaleTile(tile, scales);
    }
  }
}

}  // namespace grove
