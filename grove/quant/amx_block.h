// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Products of blocks with the tile registers of AMX, which hold 16 rows of 64 bytes and multiply 16 x 16 x 64 bytes
// with one instruction: 16 times the int8 products of an AVX512-VNNI instruction. Needs ActiveTargetHasTiles().
//
//   c[r][n] = (c[r][n] +) sum over g < groups and i of a[r][g][i] * b[g][n][i]
//
// i < 2 for bf16, summed in fp32 (denormal numbers count as 0); i < 4 for int8, a unsigned, summed exactly. An
// element's sum has one order, whichever rows and columns share a call.
#pragma once

#include <cstddef>

#include "grove/quant/quantization.h"

namespace grove {

inline constexpr size_t kAmxRows = 32;     // of a block at most: two tiles
inline constexpr size_t kAmxColumns = 32;  // likewise

// All strides in bytes.
struct AmxBlock {
  const void* a = nullptr;  // [rows, groups * 4 bytes]
  size_t a_stride = 0;
  const void* b = nullptr;  // [groups, columns * 4 bytes]
  size_t b_stride = 0;
  void* c = nullptr;  // [rows, columns] floats or 32-bit integers
  size_t c_stride = 0;
  size_t groups = 0;
  // What comes next, asked for meanwhile, a few lines with every tile: all at once would hold up the product's own
  // loads.
  const void* ahead = nullptr;  // to be read, from the second-level cache
  size_t ahead_bytes = 0;
  void* result = nullptr;  // rows to be written when c is complete
  size_t result_stride = 0, result_bytes = 0, result_rows = 0;
};

// The tile registers of this thread, for as long as it lives: they are set up for one shape at a time, and given back
// at the end, so that the system need not save them for others.
class AmxTiles {
 public:
  AmxTiles() = default;
  ~AmxTiles();  // NOLINT(performance-trivially-destructible): not where tiles are compiled in
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  // rows <= kAmxRows; columns 16 or 32. add: to what is in c.
  void Multiply(Quantization precision, const AmxBlock& block, size_t rows, size_t columns, bool add = false);

 private:
  void SetShape(size_t rows, size_t groups);

  size_t rows_ = 0, groups_ = 0;
};

}  // namespace grove
