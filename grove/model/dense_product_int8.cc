// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The dense product of 8-bit integers: weights rounded per column when they are packed, rows as they come.
//
//   y = (sum of (q + 128) w - 128 sum of w) s_row s_column + bias,   q = round(x / s_row), w = round(weight / s_column)
//
// The multiplications of AVX512-VNNI and AVX2 (int8_panels_avx2.h) take unsigned times signed bytes, hence the 128.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "grove/kernels/target.h"
#include "grove/kernels/tile_rows.h"
#include "grove/model/dense_panels.h"
#include "grove/model/int8_panels_avx2.h"
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
void PortableTile(const uint8_t* x, size_t x_stride, const int8_t* panel, size_t steps, const Int8Ahead& ahead,
                  int32_t* sums) {
  ahead.Ask();
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

// kSteps steps of the sum. Every loop over rows is unrolled, or GCC 12 keeps the sums in memory.
template <size_t kSteps, size_t kRows>
[[gnu::always_inline]] inline void VnniSteps(TileRows<uint8_t, kRows>& x, const int8_t* panel,
                                             __m512i (&tile)[kRows][2]) {
#pragma GCC unroll 4
  for (size_t s = 0; s < kSteps; ++s, panel += kGroup * kPanelColumns) {
    const __m512i w0 = _mm512_loadu_si512(panel), w1 = _mm512_loadu_si512(panel + 64);
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      int four;
      std::memcpy(&four, x.row(r) + kGroup * s, sizeof(four));
      const __m512i value = _mm512_set1_epi32(four);
      tile[r][0] = _mm512_dpbusd_epi32(tile[r][0], value, w0);
      tile[r][1] = _mm512_dpbusd_epi32(tile[r][1], value, w1);
    }
  }
  x.Move(kGroup * kSteps);
}

template <size_t kRows>
void VnniTile(const uint8_t* x, size_t x_stride, const int8_t* panel, size_t steps, const Int8Ahead& ahead,
              int32_t* sums) {
  constexpr size_t kAtOnce = 4, kStep = kGroup * kPanelColumns;
  __m512i tile[kRows][2];
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) tile[r][0] = tile[r][1] = _mm512_setzero_si512();
  TileRows<uint8_t, kRows> rows(x, x_stride);
  // A little every few steps: many lines asked for at once would hold up the tile's own loads.
  const size_t whole = steps / kAtOnce, ask = ahead.bytes / std::max<size_t>(1, whole);
  const int8_t* line = ahead.weights;
  for (size_t k = 0; k < whole; ++k, panel += kAtOnce * kStep, line += ask) {
    __builtin_prefetch(line, 0, 2);
    for (size_t more = kCacheLineBytes; more < ask; more += kCacheLineBytes) __builtin_prefetch(line + more, 0, 2);
    if (k < ahead.rows) ahead.AskRow(k);
    VnniSteps<kAtOnce>(rows, panel, tile);
  }
  for (size_t k = kAtOnce * whole; k < steps; ++k, panel += kStep) VnniSteps<1>(rows, panel, tile);
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) {
    _mm512_storeu_si512(sums + r * kPanelColumns, tile[r][0]);
    _mm512_storeu_si512(sums + r * kPanelColumns + 16, tile[r][1]);
  }
}

#pragma GCC pop_options

constexpr Tile kVnniTiles[kMaxTileRows + 1] = GROVE_TILES(VnniTile);

const Tile* VnniTiles() {
  const bool vnni = __builtin_cpu_supports("avx512vnni") != 0 && __builtin_cpu_supports("avx512bw") != 0;
  return vnni && ActiveTarget().starts_with("AVX3") ? kVnniTiles : nullptr;
}

#else

const Tile* VnniTiles() { return nullptr; }

#endif

// Null where AVX2 is not to be used.
const Tile* WantedAvx2Tiles(size_t in) {
  const bool wanted = ActiveTarget() == "AVX2" || ActiveTarget().starts_with("AVX3");
  return wanted ? Avx2Tiles(in) : nullptr;
}

constexpr int32_t kRowShift = 128;  // rows are x + 128

// Panels [in / 4, 32, 4].
void PackPlainPanel(const int8_t* weights, size_t in, size_t columns, int8_t* panel, int32_t* excess) {
  for (size_t c = 0; c < columns; ++c, weights += in) {
    int8_t* to = panel + c * kGroup;
    for (size_t i = 0; i < in; i += kGroup, to += kGroup * kPanelColumns) {
      std::memcpy(to, weights + i, std::min(kGroup, in - i));
    }
    excess[c] = kRowShift * std::accumulate(weights, weights + in, int32_t{0});
  }
}

std::optional<Activation> KernelActivation(DenseActivation activation) {
  if (activation == DenseActivation::kNone) return std::nullopt;
  return activation == DenseActivation::kGelu ? Activation::kGelu : Activation::kRelu;
}

}  // namespace

Int8Panels PackInt8Panels(const int8_t* weights, const float* scales, size_t in, size_t out) {
  const size_t columns = RoundUpTo(kPanelColumns, out);
  const Tile *vnni = VnniTiles(), *avx2 = vnni == nullptr ? WantedAvx2Tiles(in) : nullptr;
  Int8Panels packed{.weights = {},
                    .scales = AlignedArray<float>(columns),
                    .excess = AlignedArray<int32_t>(columns),
                    .tiles = vnni != nullptr   ? vnni
                             : avx2 != nullptr ? avx2
                                               : kPortableTiles,
                    .plain = avx2 == nullptr,
                    .panel_bytes = avx2 != nullptr ? Avx2PanelBytes(in) : RoundUpTo(kGroup, in) * kPanelColumns};
  packed.weights = AlignedArray<int8_t>(columns / kPanelColumns * packed.panel_bytes);
  std::copy_n(scales, out, packed.scales.data());
  const auto pack = packed.plain ? PackPlainPanel : PackAvx2Panel;
  int8_t* panel = packed.weights.data();
  for (size_t o = 0; o < out; o += kPanelColumns, panel += packed.panel_bytes) {
    pack(weights + o * in, in, std::min(kPanelColumns, out - o), panel, packed.excess.data() + o);
  }
  return packed;
}

void CopyInt8Column(const Int8Panels& panels, size_t in, size_t column, int8_t* to) {
  const int8_t* panel = panels.weights.data() + column / kPanelColumns * panels.panel_bytes;
  if (!panels.plain) return CopyAvx2Column(panel, in, column % kPanelColumns, to);
  const int8_t* from = panel + column % kPanelColumns * kGroup;
  for (size_t i = 0; i < in; i += kGroup, from += kGroup * kPanelColumns) {
    std::memcpy(to + i, from, std::min(kGroup, in - i));
  }
}

void ToInt8Rows(const float* x, size_t x_stride, size_t rows, size_t in, uint8_t* to, float* scales) {
  for (size_t r = 0; r < rows; ++r, to += Int8RowStride(in)) RoundToBytes(x + r * x_stride, in, scales[r], to);
}

void RunInt8Panels(const DensePanels& task) {
  const size_t groups = RoundUpTo(kGroup, task.in) / kGroup, tiles = (task.rows + kMaxTileRows - 1) / kMaxTileRows;
  const auto* x = static_cast<const uint8_t*>(task.x);
  const auto* panel = static_cast<const int8_t*>(task.weights);
  alignas(64) int32_t sums[kMaxTileRows * kPanelColumns];
  SumsTile tile{.rows = 0,
                .columns = 0,
                .sums = sums,
                .row_scales = nullptr,
                .activation = KernelActivation(task.activation),
                .y = nullptr,
                .y_stride = task.y_stride};
  for (size_t column = 0; column < task.columns; column += kPanelColumns, panel += task.panel_bytes) {
    const SumScales scales{1, 1.0f, task.excess + column, task.column_scales + column, task.bias + column};
    const bool more = column + kPanelColumns < task.ahead_columns;
    tile.columns = std::min(kPanelColumns, task.columns - column);
    for (size_t row = 0, part = 0; row < task.rows; row += kMaxTileRows, ++part) {
      tile.rows = std::min(kMaxTileRows, task.rows - row);
      tile.row_scales = task.row_scales + row;
      tile.y = task.y + row * task.y_stride + column;
      const size_t begin = task.panel_bytes * part / tiles, end = task.panel_bytes * (part + 1) / tiles;
      const Int8Ahead ahead{panel + (more ? task.panel_bytes + begin : 0), more ? end - begin : 0, tile.y,
                            tile.y_stride, tile.columns == kPanelColumns ? tile.rows : 0};
      task.int8_tiles[tile.rows](x + row * task.x_stride, task.x_stride, panel, groups, ahead, sums);
      ScaleTile(tile, scales);
    }
  }
}

}  // namespace grove
