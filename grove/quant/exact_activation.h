// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Activations, roundings and scalings of the low precisions: the same bits on every instruction set. GELU is that
// of kernels/rounded_gelu.h: what it gives is rounded to bf16 or bytes next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "grove/kernels/activation.h"

namespace grove {

// out[i] = act(sign * x[i]); the arrays may be the same.
void ExactActivate(Activation activation, float sign, const float* x, size_t count, float* out);

// q[i] = x[i] / scale to the nearest integer, ties to even, with scale = the largest |x[i]| / 127. All zero: scale 0.
float QuantizeRow(const float* x, size_t count, int8_t* q);

// To bfloat16, to nearest, ties to even, as ToBf16() of base/bf16.h.
void RoundRow(const float* x, size_t count, uint16_t* rounded);

// What the integer sums of a row are worth.
struct SumScales {
  int32_t shift;               // of the row's values: so many times `column_sums` too much has been added
  float row;                   // the row's scale
  const int32_t* column_sums;  // of the weights
  const float* columns;        // their scales
  const float* bias;
};
// out[i] = (sums[i] - shift * column_sums[i]) * (row * columns[i]) + bias[i]; the arrays may be the same.
void ScaleSums(const int32_t* sums, const SumScales& scales, size_t count, float* out);

// A tile of integer sums and where it goes.
inline constexpr size_t kTileColumns = 32;
struct SumsTile {
  size_t rows, columns;     // at most kTileColumns
  const int32_t* sums;      // [rows, kTileColumns]
  const float* row_scales;  // [rows]
  std::optional<Activation> activation;
  float* y;
  size_t y_stride;
};
// y[r][n] = act(ScaleSums() of row r, where scales.row is row_scales[r]). Arrays of `scales` are of kTileColumns.
void ScaleTile(const SumsTile& tile, const SumScales& scales);

// y[i] += x[i]
void AddRow(const float* x, size_t count, float* y);

// What a block of products, [rows, columns], adds to rows anywhere: y[r][n] += gates[r] * value(r, n). Arrays of
// columns are a multiple of 16, at most kGatedColumns.
inline constexpr size_t kGatedColumns = 64;
struct GatedBlock {
  size_t rows, columns;
  const float* gates;
  float* const* y;
};
// value = products[r][n] + bias[n]
void AddGated(const GatedBlock& block, const float* products, const float* bias);
// value = ScaleSums() of the row's sums, where scales.row is row_scales[r].
void AddGated(const GatedBlock& block, const int32_t* sums, const SumScales& scales, const float* row_scales);

}  // namespace grove
