// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Activations, roundings and scalings of the low precisions: the same bits on every instruction set. GELU within 4e-7
// of the exact form.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/kernels/activation.h"

namespace grove {

// out[i] = act(sign * x[i]); the arrays may be the same.
void ExactActivate(Activation activation, float sign, const float* x, size_t count, float* out);

// q[i] = x[i] / scale to the nearest integer, ties to even, with scale = the largest |x[i]| / 127. All zero: scale 0.
float QuantizeRow(const float* x, size_t count, int8_t* q);

// To bfloat16, to nearest, ties to even, as ToBf16() of base/bf16.h.
void RoundRow(const float* x, size_t count, uint16_t* rounded);

// out[i] = (sums[i] - offsets[i]) * (row_scale * scales[i]) + bias[i]
void ScaleSums(const int32_t* sums, const int32_t* offsets, float row_scale, const float* scales, const float* bias,
               size_t count, float* out);

// y[i] += scale * x[i], and y[i] += x[i]
void AddScaledRow(float scale, const float* x, size_t count, float* y);
void AddRow(const float* x, size_t count, float* y);

}  // namespace grove
