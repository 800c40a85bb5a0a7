// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// exp and GELU of several vectors at once, compiled once per target. Every step of one vector waits for the step
// before, and processors look too few instructions ahead to begin with the next vector in the meantime: so all of them
// take each step abreast. Fused: products and sums in one operation, where the target has it. Not fused: the same bits
// on every target, in files that are compiled with -ffp-contract=off.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

#include "grove/kernels/rounded_gelu.h"
#include "grove/kernels/simd-inl.h"

#if defined(GROVE_KERNELS_GELU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_GELU_INL_H_
#undef GROVE_KERNELS_GELU_INL_H_
#else
#define GROVE_KERNELS_GELU_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

inline constexpr float kLeastExponent = -86.0f;        // exp below is 0
inline constexpr float kToInteger = 12582912.0f;       // 1.5 * 2^23: adding it rounds to an integer in the low bits
inline constexpr int32_t kToIntegerBits = 0x4B400000;  // of it
inline constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
inline constexpr float kExpTerms[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};

template <class Step, size_t... kIndex>
HWY_INLINE void AbreastOf(const Step& step, std::index_sequence<kIndex...>) {
  (step(kIndex), ...);
}

// Calls step(0) ... step(kCount - 1), unrolled.
template <size_t kCount, class Step>
HWY_INLINE void Abreast(const Step& step) {
  AbreastOf(step, std::make_index_sequence<kCount>());
}

template <bool kFused>
HWY_INLINE FloatVec MultiplyAdd(FloatVec a, FloatVec b, FloatVec c) {
  return kFused ? hn::MulAdd(a, b, c) : hn::Add(hn::Mul(a, b), c);
}

// exp(z), z <= 0, within 2 units of the last place: 2^n exp(r), |r| <= ln(2) / 2.
template <bool kFused, size_t kCount>
HWY_INLINE void ExpOfNegative(FloatVec (&z)[kCount]) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const FloatVec least = hn::Set(d, kLeastExponent), whole = hn::Set(d, kToInteger);
  FloatVec shifted[kCount], r[kCount], p[kCount];
  Abreast<kCount>([&](size_t i) HWY_ATTR {
    const FloatVec x = hn::Max(z[i], least);
    shifted[i] = MultiplyAdd<kFused>(x, hn::Set(d, kLog2E), whole);
    const FloatVec n = hn::Sub(whole, shifted[i]);
    r[i] = MultiplyAdd<kFused>(n, hn::Set(d, kLn2Low), MultiplyAdd<kFused>(n, hn::Set(d, kLn2High), x));
    p[i] = hn::Set(d, kExpTerms[0]);
  });
  for (size_t term = 1; term < std::size(kExpTerms); ++term) {
    Abreast<kCount>([&](size_t i) HWY_ATTR { p[i] = MultiplyAdd<kFused>(p[i], r[i], hn::Set(d, kExpTerms[term])); });
  }
  Abreast<kCount>([&](size_t i) HWY_ATTR {
    const auto exponent = hn::Sub(hn::BitCast(di, shifted[i]), hn::Set(di, kToIntegerBits - 127));
    const FloatVec power = hn::BitCast(d, hn::ShiftLeft<23>(exponent));
    z[i] = hn::IfThenElseZero(hn::Ge(z[i], least), hn::Mul(p[i], power));
  });
}

// x times the normal distribution function: Abramowitz & Stegun 7.1.26, as NormalOf() of simd-inl.h.
template <size_t kCount>
HWY_INLINE void Gelu(FloatVec (&x)[kCount]) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0f);
  FloatVec t[kCount], p[kCount], gauss[kCount];  // exp(-x^2 / 2)
  Abreast<kCount>([&](size_t i) HWY_ATTR {
    const FloatVec z = hn::Mul(hn::Abs(x[i]), hn::Set(d, 0.70710678f));
    t[i] = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911f), one));
    p[i] = hn::Set(d, 1.061405429f);
    gauss[i] = hn::Neg(hn::Mul(z, z));
  });
  for (const float term : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
    Abreast<kCount>([&](size_t i) HWY_ATTR { p[i] = hn::MulAdd(p[i], t[i], hn::Set(d, term)); });
  }
  ExpOfNegative<true>(gauss);
  Abreast<kCount>([&](size_t i) HWY_ATTR {
    const FloatVec tail = hn::Mul(hn::Mul(hn::Mul(p[i], t[i]), gauss[i]), hn::Set(d, 0.5f));
    x[i] = hn::Mul(x[i], hn::IfThenElse(hn::Lt(x[i], hn::Zero(d)), tail, hn::Sub(one, tail)));
  });
}

// rounded_gelu.h. Not fused.
template <size_t kCount>
HWY_INLINE void RoundedGelu(FloatVec (&x)[kCount]) {
  const FloatTag d;
  FloatVec z[kCount], u[kCount], sum[kCount];
  Abreast<kCount>([&](size_t i) HWY_ATTR {
    x[i] = hn::Max(x[i], hn::Set(d, -kRoundedGeluEnd));
    z[i] = hn::Min(x[i], hn::Set(d, kRoundedGeluEnd));
    const FloatVec scaled = hn::Mul(hn::Mul(z[i], z[i]), hn::Set(d, 2.0f / (kRoundedGeluEnd * kRoundedGeluEnd)));
    u[i] = hn::Sub(scaled, hn::Set(d, 1.0f));
    sum[i] = hn::Set(d, kRoundedGeluTerms[0]);
  });
  for (size_t term = 1; term < std::size(kRoundedGeluTerms); ++term) {
    Abreast<kCount>([&](size_t i)
                        HWY_ATTR { sum[i] = MultiplyAdd<false>(sum[i], u[i], hn::Set(d, kRoundedGeluTerms[term])); });
  }
  Abreast<kCount>([&](size_t i) HWY_ATTR { x[i] = hn::Mul(x[i], MultiplyAdd<false>(sum[i], z[i], hn::Set(d, 0.5f))); });
}

// kRounded: for values that are rounded afterwards, the same bits on every target.
template <bool kRounded, size_t kCount>
HWY_INLINE void ActivateAbreast(Activation activation, FloatVec (&x)[kCount]) {
  if (activation == Activation::kRelu) {
    return Abreast<kCount>([&](size_t i) HWY_ATTR { x[i] = hn::Max(x[i], hn::Zero(FloatTag())); });
  }
  kRounded ? RoundedGelu(x) : Gelu(x);
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_GELU_INL_H_
