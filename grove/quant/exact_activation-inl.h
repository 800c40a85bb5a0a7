// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What the low precisions compute element by element, in plain loops that the compiler turns into vectors: compiled
// once for every instruction set, and the same bits on each, as nothing is contracted and no sum changes its order.

#include <algorithm>
#include <bit>
#include <cmath>

#include "grove/base/bf16.h"
#include "grove/quant/exact_activation.h"
#include "hwy/highway.h"

#if defined(GROVE_QUANT_EXACT_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_QUANT_EXACT_ACTIVATION_INL_H_
#undef GROVE_QUANT_EXACT_ACTIVATION_INL_H_
#else
#define GROVE_QUANT_EXACT_ACTIVATION_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Adding and taking it away rounds a value below 2^22 to an integer; its low bits then are that integer.
inline constexpr float kRoundToInteger = 12582912.0f;  // 1.5 * 2^23

HWY_INLINE int32_t RoundToInt(float x) { return std::bit_cast<int32_t>(x + kRoundToInteger) - 0x4B400000; }

// exp(z), -87 <= z <= 0: 2^n exp(r), |r| <= ln(2) / 2, with the Taylor terms up to r^7.
HWY_INLINE float ExpNegative(float z) {
  const float n = (z * 1.44269504f + kRoundToInteger) - kRoundToInteger;
  const float r = (z - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return p * std::bit_cast<float>((RoundToInt(n) + 127) << 23);
}

// x times the normal distribution function: Abramowitz & Stegun 7.1.26, as NormalOf() of simd-inl.h.
HWY_INLINE float Gelu(float x) {
  const float z = std::abs(x) * 0.70710678f;
  const float t = 1.0f / (z * 0.3275911f + 1.0f);
  float p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const float square = z * z;
  const float tail = p * t * ExpNegative(square < 87.0f ? -square : -87.0f) * 0.5f;
  return x * (x < 0.0f ? tail : 1.0f - tail);
}

inline void ActivateLoop(Activation activation, float sign, const float* x, size_t count, float* out) {
  if (activation == Activation::kRelu) {
    for (size_t i = 0; i < count; ++i) out[i] = std::max(sign * x[i], 0.0f);
  } else {
    for (size_t i = 0; i < count; ++i) out[i] = Gelu(sign * x[i]);
  }
}

inline float QuantizeLoop(const float* x, size_t count, int8_t* q) {
  float lanes[16] = {};
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (size_t j = 0; j < 16; ++j) lanes[j] = std::max(lanes[j], std::abs(x[i + j]));
  }
  float largest = 0;
  for (; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  for (const float lane : lanes) largest = std::max(largest, lane);
  // Below, 127 / largest is infinite: such a row is nothing but noise of denormal numbers.
  const float inverse = largest > 1e-36f ? 127.0f / largest : 0.0f;
  for (i = 0; i < count; ++i) q[i] = static_cast<int8_t>(RoundToInt(x[i] * inverse));
  return inverse == 0.0f ? 0.0f : largest / 127.0f;
}

inline void RoundLoop(const float* x, size_t count, uint16_t* rounded) {
  for (size_t i = 0; i < count; ++i) rounded[i] = ToBf16(x[i]).bits;
}

inline void ScaleLoop(const int32_t* sums, const SumScales& scales, size_t count, float* out) {
  const auto [shift, row, column_sums, columns, bias] = scales;
  for (size_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(sums[i] - shift * column_sums[i]) * (row * columns[i]) + bias[i];
  }
}

inline void AddLoop(const float* HWY_RESTRICT x, size_t count, float* HWY_RESTRICT y) {
  for (size_t i = 0; i < count; ++i) y[i] += x[i];
}

inline void AddGatedLoop(const GatedBlock& block, const float* products, const float* HWY_RESTRICT bias) {
  for (size_t r = 0; r < block.rows; ++r, products += block.columns) {
    const float gate = block.gates[r], *HWY_RESTRICT from = products;
    float* HWY_RESTRICT y = block.y[r];
    for (size_t i = 0; i < block.columns; ++i) y[i] += gate * (from[i] + bias[i]);
  }
}

inline void AddGatedSumsLoop(const GatedBlock& block, const int32_t* sums, const SumScales& scales,
                             const float* row_scales) {
  const int32_t shift = scales.shift, *HWY_RESTRICT column_sums = scales.column_sums;
  const float *HWY_RESTRICT columns = scales.columns, *HWY_RESTRICT bias = scales.bias;
  for (size_t r = 0; r < block.rows; ++r, sums += block.columns) {
    const float gate = block.gates[r], row = row_scales[r];
    const int32_t* HWY_RESTRICT from = sums;
    float* HWY_RESTRICT y = block.y[r];
    for (size_t i = 0; i < block.columns; ++i) {
      y[i] += gate * (static_cast<float>(from[i] - shift * column_sums[i]) * (row * columns[i]) + bias[i]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_QUANT_EXACT_ACTIVATION_INL_H_
