// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Dense products summed in floats: of fp32 weights, and of bf16 weights that become floats, a part at a time, for
// processors that do not multiply bf16 faster than floats.
#include <algorithm>

#include "grove/model/dense_panels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/model/float_panels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/gelu-inl.h"
#include "grove/kernels/product_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One cut of the sum, so that the rows and panels of a block stay in the second-level cache.
struct Cut {
  size_t begin, depth;
  bool first, last;
};

// What the two kinds of weights differ in. Panels [in / kSteps, panel columns, kSteps], `in` rounded up. Floats() gives
// the part of a tile's columns that the cut multiplies by, in `room` if it is made.
struct FloatWeights {
  using Element = float;
  static constexpr size_t kSteps = 1, kDepth = 1024, kRoom = 1;
  static HWY_INLINE TileWeights Floats(const DensePanels& task, const Cut&, const float* panel, size_t within, float*) {
    const size_t width = task.panel_columns, lanes = TileColumns() / kTileVectors;
    return {panel + within, width, within + lanes < width ? lanes : task.in * width - within};
  }
};

struct Bf16Weights {
  using Element = Bf16;
  static constexpr size_t kSteps = 2, kDepth = 512, kRoom = kDepth * kPanelColumns;
  static HWY_INLINE TileWeights Floats(const DensePanels& task, const Cut& cut, const Bf16* panel, size_t within,
                                       float* room) {
    const size_t columns = TileColumns();
    WidenPairs(panel + 2 * within, 2 * task.panel_columns, (cut.depth + 1) / 2, columns, room);
    return {room, columns, columns / kTileVectors};
  }
};

// Of weights that are packed for this instruction set: what a tile takes, at least a cache line.
size_t PanelColumns() { return std::max(TileColumns(), kCacheLineBytes / sizeof(float)); }

// One tile's places.
struct Place {
  const float* x;
  TileWeights weights;
  const float* bias;
  float* y;
  size_t y_stride;
};

// Of a tile in memory, four vectors abreast: those of two rows.
HWY_NOINLINE void ActivateTile(Activation activation, size_t rows, float* y, size_t y_stride) {
  const FloatTag d;
  for (size_t r = 0; r < rows; r += 2) {
    float* const pair[2] = {y + r * y_stride, y + std::min(r + 1, rows - 1) * y_stride};
    FloatVec values[2 * kTileVectors];
    Abreast<2 * kTileVectors>(
        [&](size_t i) HWY_ATTR { values[i] = hn::LoadU(d, pair[i / kTileVectors] + i % kTileVectors * hn::Lanes(d)); });
    ActivateAbreast<false>(activation, values);
    const size_t count = r + 1 < rows ? 2 * kTileVectors : kTileVectors;
    Abreast<2 * kTileVectors>([&](size_t i) HWY_ATTR {
      if (i < count) hn::StoreU(values[i], d, pair[i / kTileVectors] + i % kTileVectors * hn::Lanes(d));
    });
  }
}

template <size_t kRows>
HWY_NOINLINE void RunTile(const DensePanels& task, const Cut& cut, const Place& at, TileAhead ahead) {
  const FloatTag d;
  FloatVec sums[kRows][kTileVectors];
  cut.first ? ZeroTile(sums) : LoadTile(at.y, at.y_stride, sums);
  AddTile(at.x, task.x_stride, at.weights, cut.depth, ahead, sums);
  if (cut.last) {
    HWY_UNROLL(2)
    for (size_t v = 0; v < kTileVectors; ++v) {
      const FloatVec b = hn::LoadU(d, at.bias + v * hn::Lanes(d));
      HWY_UNROLL(12)
      for (size_t r = 0; r < kRows; ++r) sums[r][v] = hn::Add(sums[r][v], b);
    }
  }
  StoreTile(sums, at.y, at.y_stride);
  if (!cut.last || task.activation == DenseActivation::kNone) return;
  ActivateTile(task.activation == DenseActivation::kGelu ? Activation::kGelu : Activation::kRelu, kRows, at.y,
               at.y_stride);
}

// Fetches the panel after the one in work, a few lines now and then, so that it is in the second-level cache when its
// turn comes: weights come from memory, and many lines at once would hold up the tile's own loads.
template <class Weights>
TileAhead NextPanel(const DensePanels& task, const Cut& cut, const typename Weights::Element* panel, size_t tile,
                    size_t tiles) {
  if (cut.depth == 0) return {};
  const size_t bytes = cut.depth * task.panel_columns * sizeof(*panel), first = bytes * tile / tiles;
  const auto* next = panel + RoundUpTo(Weights::kSteps, task.in) * task.panel_columns;
  const size_t step = std::min(4 * bytes / tiles / cut.depth, kMostLinesAhead * kCacheLineBytes);
  return {reinterpret_cast<const char*>(next) + first, step};
}

// All rows of one tile's columns. Columns beyond the last one are computed aside.
template <class Weights>
HWY_INLINE void RunColumns(const DensePanels& task, const Cut& cut, size_t column) {
  const size_t width = task.panel_columns;
  const auto* panel = static_cast<const typename Weights::Element*>(task.weights) +
                      (column / width * RoundUpTo(Weights::kSteps, task.in) + cut.begin) * width;
  HWY_ALIGN float room[Weights::kRoom];
  const TileWeights weights = Weights::Floats(task, cut, panel, column % width, room);
  const size_t columns = std::min(TileColumns(), task.columns - column);
  HWY_ALIGN float edge[kTileRows * kPanelColumns] = {};
  const bool more = column + TileColumns() < task.ahead_columns && (column + TileColumns()) % width == 0;
  const size_t tiles = (task.rows + kTileRows - 1) / kTileRows;
  for (size_t row = 0; row < task.rows; row += kTileRows) {
    const size_t rows = std::min(kTileRows, task.rows - row);
    float* y = task.y + row * task.y_stride + column;
    const bool whole = columns == TileColumns();
    for (size_t r = 0; !whole && !cut.first && r < rows; ++r) {
      std::copy_n(y + r * task.y_stride, columns, edge + r * kPanelColumns);
    }
    const Place at{static_cast<const float*>(task.x) + row * task.x_stride + cut.begin, weights, task.bias + column,
                   whole ? y : edge, whole ? task.y_stride : kPanelColumns};
    const TileAhead ahead = more ? NextPanel<Weights>(task, cut, panel, row / kTileRows, tiles) : TileAhead{};
    WithTileRows(rows, [&](auto kRows) HWY_ATTR { RunTile<decltype(kRows)::value>(task, cut, at, ahead); });
    for (size_t r = 0; !whole && r < rows; ++r) std::copy_n(edge + r * kPanelColumns, columns, y + r * task.y_stride);
  }
}

template <class Weights>
HWY_INLINE void RunAll(const DensePanels& task) {
  constexpr size_t kDepth = Weights::kDepth;
  for (size_t begin = 0; begin < std::max(task.in, size_t{1}); begin += kDepth) {
    const Cut cut{begin, std::min(kDepth, task.in - begin), begin == 0, begin + kDepth >= task.in};
    for (size_t column = 0; column < task.columns; column += TileColumns()) RunColumns<Weights>(task, cut, column);
  }
}

void RunFp32(const DensePanels& task) { RunAll<FloatWeights>(task); }
void RunWidened(const DensePanels& task) { RunAll<Bf16Weights>(task); }

void RoundRows(const float* x, size_t x_stride, size_t rows, size_t in, float* to) {
  const size_t stride = WidenedRowStride(in);
  for (size_t r = 0; r < rows; ++r, x += x_stride, to += stride) {
    for (size_t i = 0; i < in; ++i) to[i] = ToFloat(ToBf16(x[i]));
    if (in % 2 != 0) to[in] = 0.0f;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(PanelColumns);
HWY_EXPORT(RunFp32);
HWY_EXPORT(RunWidened);
HWY_EXPORT(RoundRows);
}  // namespace

size_t FloatPanelColumns() { return HWY_DYNAMIC_DISPATCH(PanelColumns)(); }
void RunFloatPanels(const DensePanels& task) { HWY_DYNAMIC_DISPATCH(RunFp32)(task); }
void RunWidenedPanels(const DensePanels& task) { HWY_DYNAMIC_DISPATCH(RunWidened)(task); }
void ToWidenedRows(const float* x, size_t x_stride, size_t rows, size_t in, float* to) {
  HWY_DYNAMIC_DISPATCH(RoundRows)(x, x_stride, rows, in, to);
}

}  // namespace grove
#endif  // HWY_ONCE
