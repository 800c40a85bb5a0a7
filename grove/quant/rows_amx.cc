// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <algorithm>
#include <cstring>

#include "grove/base/aligned.h"
#include "grove/quant/amx_block.h"
#include "grove/quant/row_kernels.h"

namespace grove {
namespace {

// So few rows leave most of a tile empty; integers may take another way, as their sums are the same.
constexpr size_t kFewRows = 3;

// Tiles are read at one stride: rows from anywhere are gathered first. An odd number of cache lines, so that the rows
// of a tile lie in different places of the first-level cache.
size_t GatheredStride(size_t groups) {
  const size_t lines = (4 * groups + kCacheLineBytes - 1) / kCacheLineBytes;
  return (lines | 1) * kCacheLineBytes;
}

// How far apart rows are that lie at one distance; 0 if they do not.
template <class Element>
size_t CommonStride(const Element* const* a, size_t rows) {
  if (rows < 2 || a[1] <= a[0]) return 0;
  const size_t stride = a[1] - a[0];
  for (size_t r = 2; r < rows; ++r) {
    if (a[r] < a[r - 1] || static_cast<size_t>(a[r] - a[r - 1]) != stride) return 0;
  }
  return stride * sizeof(Element);
}

template <class Element, class Value>
void Block(Quantization precision, const Element* const* a, size_t rows, size_t groups, const void* b, size_t columns,
           Value* c) {
  const size_t common = CommonStride(a, rows), stride = common != 0 ? common : GatheredStride(groups);
  const size_t out_stride = columns * sizeof(Value);
  thread_local AlignedArray<std::byte> memory;
  std::byte* gathered = AtLeast(memory, std::min(rows, kAmxRows) * GatheredStride(groups));
  AmxTiles tiles;
  for (size_t row = 0; row < rows; row += kAmxRows) {
    const size_t count = std::min(kAmxRows, rows - row);
    for (size_t r = 0; common == 0 && r < count; ++r) std::memcpy(gathered + r * stride, a[row + r], 4 * groups);
    for (size_t column = 0; column < columns; column += kAmxColumns) {
      const AmxBlock block{.a = common != 0 ? static_cast<const void*>(a[row]) : gathered,
                           .a_stride = stride,
                           .b = static_cast<const std::byte*>(b) + 4 * column,
                           .b_stride = 4 * columns,
                           .c = c + row * columns + column,
                           .c_stride = out_stride,
                           .groups = groups};
      tiles.Multiply(precision, block, count, std::min(kAmxColumns, columns - column));
    }
  }
}

void Bf16Block(const uint16_t* const* a, size_t rows, size_t groups, const uint16_t* b, size_t columns, float* c) {
  Block(Quantization::kBf16, a, rows, groups, b, columns, c);
}

void Int8Block(const uint8_t* const* a, size_t rows, size_t groups, const int8_t* b, size_t columns, int32_t* c) {
  if (rows <= kFewRows) return Avx512RowKernels()->int8_block(a, rows, groups, b, columns, c);
  Block(Quantization::kInt8, a, rows, groups, b, columns, c);
}

}  // namespace

const RowKernels* AmxRowKernels() {
  if (Avx512RowKernels() == nullptr) return nullptr;
  static const RowKernels kernels = [] {
    RowKernels with_tiles = *Avx512RowKernels();
    with_tiles.name = "AVX512-BF16, VNNI and AMX";
    with_tiles.bf16_block = Bf16Block;
    with_tiles.int8_block = Int8Block;
    return with_tiles;
  }();
  return &kernels;
}

}  // namespace grove
