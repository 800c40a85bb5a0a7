// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// exp and what is made of it with the same bits on every instruction set, compiled once per target: single operations
// in one order, none fused. Files that include this are compiled with -ffp-contract=off.

#include <bit>
#include <cstdint>

#include "grove/kernels/simd-inl.h"

#if defined(GROVE_KERNELS_EXACT_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_EXACT_EXP_INL_H_
#undef GROVE_KERNELS_EXACT_EXP_INL_H_
#else
#define GROVE_KERNELS_EXACT_EXP_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

inline constexpr float kLeastExponent = -86.0f;        // exp below is 0
inline constexpr float kToInteger = 12582912.0f;       // 1.5 * 2^23: adding it rounds to an integer in the low bits
inline constexpr int32_t kToIntegerBits = 0x4B400000;  // of it
inline constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
inline constexpr float kExpTerms[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};

// exp(z), z <= 0, within 2 units of the last place: 2^n exp(r), |r| <= ln(2) / 2.
HWY_INLINE FloatVec ExactExp(FloatVec z) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const FloatVec least = hn::Set(d, kLeastExponent), whole = hn::Set(d, kToInteger);
  const FloatVec x = hn::Max(z, least);
  const FloatVec shifted = hn::Add(hn::Mul(x, hn::Set(d, kLog2E)), whole), n = hn::Sub(shifted, whole);
  const FloatVec r = hn::Sub(hn::Sub(x, hn::Mul(n, hn::Set(d, kLn2High))), hn::Mul(n, hn::Set(d, kLn2Low)));
  FloatVec p = hn::Set(d, kExpTerms[0]);
  for (size_t i = 1; i < std::size(kExpTerms); ++i) p = hn::Add(hn::Mul(p, r), hn::Set(d, kExpTerms[i]));
  const auto exponent = hn::Sub(hn::BitCast(di, shifted), hn::Set(di, kToIntegerBits - 127));
  return hn::IfThenElseZero(hn::Ge(z, least), hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(exponent))));
}

// The same of one value.
inline float ExactExpOf(float z) {
  if (!(z >= kLeastExponent)) return 0.0f;
  const float shifted = z * kLog2E + kToInteger, n = shifted - kToInteger;
  const float r = (z - n * kLn2High) - n * kLn2Low;
  float p = kExpTerms[0];
  for (size_t i = 1; i < std::size(kExpTerms); ++i) p = p * r + kExpTerms[i];
  return p * std::bit_cast<float>((std::bit_cast<int32_t>(shifted) - (kToIntegerBits - 127)) << 23);
}

// log(1 + u), 0 <= u <= 1, as 2 artanh(u / (2 + u)).
HWY_INLINE FloatVec ExactLog1p(FloatVec u) {
  const FloatTag d;
  const FloatVec s = hn::Div(u, hn::Add(u, hn::Set(d, 2.0f))), square = hn::Mul(s, s);
  FloatVec p = hn::Set(d, 1.0f / 15);
  for (const float term : {1.0f / 13, 1.0f / 11, 1.0f / 9, 1.0f / 7, 1.0f / 5, 1.0f / 3, 1.0f}) {
    p = hn::Add(hn::Mul(p, square), hn::Set(d, term));
  }
  return hn::Mul(hn::Add(s, s), p);
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_EXACT_EXP_INL_H_
