// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Inside of dense_product.cc: a task of it, and its narrow forms, whose rows are converted once for all panels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/base/bf16.h"
#include "grove/model/dense_product.h"
#include "grove/quant/quantization.h"

namespace grove {

inline constexpr size_t kPanelColumns = 32;
inline constexpr size_t kMaxTileRows = 12;

// What a tile of integers asks for while it computes.
struct Int8Ahead {
  const int8_t* weights;  // a part of the panel that comes next, of 0 bytes if none does
  size_t bytes;
  const float* y;  // rows of 32 numbers that are written when the sums are complete
  size_t y_stride, rows;

  // All at once.
  void Ask() const {
    for (size_t i = 0; i < bytes; i += kCacheLineBytes) __builtin_prefetch(weights + i, 0, 2);
    for (size_t r = 0; r < rows; ++r) AskRow(r);
  }
  void AskRow(size_t r) const {
    constexpr size_t kLine = kCacheLineBytes / sizeof(*y);
    for (size_t n = 0; n < kPanelColumns; n += kLine) __builtin_prefetch(y + r * y_stride + n, 1);
  }
};

// Sums [rows, 32] of one panel's products of integers.
using Int8Tile = void (*)(const uint8_t* x, size_t x_stride, const int8_t* panel, size_t steps, const Int8Ahead& ahead,
                          int32_t* sums);

// Some rows and panels of a product, on the calling thread.
struct DensePanels {
  const void* x;        // [rows, in] in the form of the precision
  const void* weights;  // of the first panel
  const float* bias;    // [columns rounded up to 32]
  float* y;             // the first panel's first column in the first row
  size_t x_stride;      // in elements
  size_t y_stride;
  size_t rows, in;
  size_t columns;  // from y on; only the last panel has less than 32
  DenseActivation activation;
  size_t panel_bytes;                    // of 32 columns
  size_t panel_columns = kPanelColumns;  // fp32 only
  size_t ahead_columns = 0;              // `columns` and those this thread computes after them, whose panels follow
  Bf16* narrow = nullptr;                // RunAmxPanels(), RunBf16Panels(): written in place of y, y_stride apart
  // int8 only: what a product of integers is worth, and what is to be taken off it before.
  const float* row_scales = nullptr;     // [rows]
  const float* column_scales = nullptr;  // [columns rounded up to 32]
  const int32_t* excess = nullptr;       // [columns rounded up to 32]
  const Int8Tile* int8_tiles = nullptr;
};

// Fetches one of `parts` parts of the panel that comes after the one in work, so that it is in the second-level cache
// when its turn comes: weights of a model come from memory, and the first tile of a panel would wait for them.
inline void PrefetchPart(const void* panel, size_t bytes, size_t part, size_t parts) {
  const auto* line = static_cast<const char*>(panel);
  const size_t end = bytes * (part + 1) / parts;
  for (size_t i = bytes * part / parts / kCacheLineBytes * kCacheLineBytes; i < end; i += kCacheLineBytes) {
    __builtin_prefetch(line + i, 0, 2);
  }
}

constexpr size_t RoundUpTo(size_t multiple, size_t n) { return (n + multiple - 1) / multiple * multiple; }

// fp32. Panels [in, FloatPanelColumns()]: what a tile of the active target takes.
size_t FloatPanelColumns();
void RunFloatPanels(const DensePanels& task);

// bf16. Panels [in / 2, 32, 2], rows padded with zeros.
AlignedArray<Bf16> PackBf16Panels(const Bf16* weights, size_t in, size_t out);
// With weights that become floats as they are loaded: rows are floats, rounded to bf16, the same sums as fp32's.
inline size_t WidenedRowStride(size_t in) { return PaddedStride(RoundUpTo(2, in)); }
void ToWidenedRows(const float* x, size_t x_stride, size_t rows, size_t in, float* to);
void RunWidenedPanels(const DensePanels& task);
// With AVX512-BF16, where HasBf16Pairs(): products of pairs are added in fp32.
bool HasBf16Pairs();
inline size_t Bf16RowStride(size_t in) { return RoundUpTo(16, in) + 32; }
void ToBf16Rows(const float* x, size_t x_stride, size_t rows, size_t in, Bf16* to);
void RunBf16Panels(const DensePanels& task);

// int8: weights are rounded to 127 steps of their column's largest (quant/round_weights.h), a row to 127 steps of its
// own. Products are exact sums of integers and the same on every machine; AVX512-VNNI and AVX2 have tiles of their own.
struct Int8Panels {
  AlignedArray<int8_t> weights;
  AlignedArray<float> scales;    // [panels, 32]
  AlignedArray<int32_t> excess;  // [panels, 32]: of sums of products, as rows are x + 128: 128 times the column's sum
  const Int8Tile* tiles = nullptr;  // by rows: the best that the machine had when they were packed
  bool plain = true;                // panels are [in / 4, 32, 4]; if not, and what `excess` is then: int8_panels_avx2.h
  size_t panel_bytes = 0;
};
Int8Panels PackInt8Panels(const int8_t* weights, const float* scales, size_t in, size_t out);
void CopyInt8Column(const Int8Panels& panels, size_t in, size_t column, int8_t* to);
inline size_t Int8RowStride(size_t in) { return RoundUpTo(64, in) + 64; }
void ToInt8Rows(const float* x, size_t x_stride, size_t rows, size_t in, uint8_t* to, float* scales);
void RunInt8Panels(const DensePanels& task);

// Both, with the tile registers of AMX (quant/amx_block.h). int8: for panels and rows as AVX512-VNNI takes them.
void RunAmxPanels(Quantization precision, const DensePanels& task);
// Rows of a task at most: all of them stay in the second-level cache beside the panels that pass.
inline size_t AmxRowBlock(size_t row_bytes) {
  return std::clamp((size_t{900} << 10) / std::max<size_t>(row_bytes, 1) / 32 * 32, size_t{128}, size_t{512});
}

}  // namespace grove
