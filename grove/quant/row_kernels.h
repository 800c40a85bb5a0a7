// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The products of the low precisions, on raw rows: what differs between instruction sets, and nothing else.
// RowKernelsFor() gives the best that the machine has and that `--target` allows.
//
// Rows on the way in: bf16 or int8 values in order, zero-padded to kRowElements. Activations of int8 are kept as bytes
// value + int8_shift. VNNI multiplies unsigned bytes with signed weights: its shift is 128, and a dot product is 128
// times the sum of the weights too large, which the caller takes off. With AVX2 the shift is 0: they are signed bytes,
// -127 ... 127.
//
// Rows on the way out are summed column by column over the levels of a path, in pairs (bf16) or quads (int8) of levels.
// Their values are kept in the order that makes an interleave within 128-bit lanes give columns in order, see
// OutPosition().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "grove/kernels/tree_arithmetic.h"

namespace grove {

inline constexpr size_t kRowElements = 64;  // rows of either precision are padded to a multiple of it
inline constexpr size_t kOutputTokens = 4;  // of one call of `outputs`

constexpr size_t RoundUpToRow(size_t n) { return (n + kRowElements - 1) / kRowElements * kRowElements; }

// Where column c of an output row stands; `group` levels are interleaved, 2 or 4.
constexpr size_t OutPosition(size_t c, size_t group) {
  const size_t block = 16 * group, within = c % block;
  return c - within + within % 16 / 4 * (4 * group) + within / 16 * 4 + within % 4;
}

using Into = TreeArithmetic::Into;
using Columns = TreeArithmetic::Columns;

struct RowKernels {
  std::string name;          // "AVX512-BF16 and VNNI"
  int32_t int8_shift = 128;  // 128 or 0

  // logits[i] = bias + w . x[i]; `ahead` may be null: what to ask for meanwhile.
  void (*bf16_logits)(const uint16_t* w, float bias, size_t row, const uint16_t* const* x, const void* const* ahead,
                      size_t count, float* logits);
  // The same of three rows of weights: logits [3, kMostAtOnce].
  void (*bf16_logits_of_three)(const uint16_t* const* w, const float* biases, size_t row, const uint16_t* const* x,
                               const void* const* ahead, size_t count, float* logits);
  // y[i] = (y[i] +) sum over p < pairs of scales[i][p]'s two halves times rows[2p] and rows[2p + 1].
  void (*bf16_outputs)(const uint16_t* const* rows, size_t pairs, const uint32_t* const* scales, Columns columns,
                       size_t count, Into into, float* const* y);

  // dots[i] = w . x[i]
  void (*int8_dots)(const int8_t* w, size_t row, const uint8_t* const* x, const void* const* ahead, size_t count,
                    int32_t* dots);
  // y[i] = (y[i] +) scale[i] * (sum over q < quads of values[i][q]'s four bytes times rows[4q ... 4q + 3])
  void (*int8_outputs)(const int8_t* const* rows, size_t quads, const uint32_t* const* values, const float* scales,
                       Columns columns, size_t count, Into into, float* const* y);

  // Gathered rows times a block of weights: c[r * columns + n] = sum over g < groups and i of a[r][g][i] * b[g][n][i],
  // i < 2 (bf16) or 4 (int8). `columns` is a multiple of 16.
  void (*bf16_block)(const uint16_t* const* a, size_t rows, size_t groups, const uint16_t* b, size_t columns, float* c);
  void (*int8_block)(const uint8_t* const* a, size_t rows, size_t groups, const int8_t* b, size_t columns, int32_t* c);
};

const RowKernels& RowKernelsFor();

// Those of bf16 for the active target in products of floats (rows_widened.cc), where these are as fast.
void WidenedBf16Logits(const uint16_t* w, float bias, size_t row, const uint16_t* const* x, const void* const* ahead,
                       size_t count, float* logits);
void WidenedBf16LogitsOfThree(const uint16_t* const* w, const float* biases, size_t row, const uint16_t* const* x,
                              const void* const* ahead, size_t count, float* logits);
void WidenedBf16Outputs(const uint16_t* const* rows, size_t pairs, const uint32_t* const* scales, Columns columns,
                        size_t count, Into into, float* const* y);
void WidenedBf16Block(const uint16_t* const* a, size_t rows, size_t groups, const uint16_t* b, size_t columns,
                      float* c);

// Of rows_portable.cc: for the active target. The others: null where they were not compiled in or the machine lacks
// them.
const RowKernels& PortableRowKernels();
const RowKernels* Avx2RowKernels();
const RowKernels* Avx512RowKernels();
const RowKernels* AmxRowKernels();  // those of AVX-512, with blocks in the tile registers of AMX

}  // namespace grove
