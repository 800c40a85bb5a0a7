// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// exp, and rounding, with the same bits on every instruction set, compiled once per target: single operations
// in one order, none fused. Files that include this are compiled with -ffp-contract=off.

#include <bit>
#include <cstdint>

#include "grove/kernels/gelu-inl.h"

#if defined(GROVE_KERNELS_EXACT_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_EXACT_EXP_INL_H_
#undef GROVE_KERNELS_EXACT_EXP_INL_H_
#else
#define GROVE_KERNELS_EXACT_EXP_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

template <size_t kCount>
HWY_INLINE void ExactExp(FloatVec (&z)[kCount]) {
  ExpOfNegative<false>(z);
}

HWY_INLINE FloatVec ExactExp(FloatVec z) {
  FloatVec one[1] = {z};
  ExactExp(one);
  return one[0];
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
