// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Vector pieces shared by the kernels, compiled once per target: dot product of padded rows, GELU and its derivative.

#include <cmath>

#include "grove/base/aligned.h"
#include "grove/kernels/activation.h"
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

#if defined(GROVE_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_SIMD_INL_H_
#undef GROVE_KERNELS_SIMD_INL_H_
#else
#define GROVE_KERNELS_SIMD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most one cache line, so that rows padded to whole lines need no tail.
using FloatTag = hn::CappedTag<float, kCacheLineBytes / sizeof(float)>;
using FloatVec = hn::Vec<FloatTag>;

// Keeps a vector that was loaded once and is used several times in a register. GCC otherwise repeats the load as an
// operand of every product, and Zen 4 loads one 64-byte vector in the time of one product. Clang keeps it by itself.
template <class V>
HWY_INLINE void KeepInRegister(V& v) {
#if HWY_ARCH_X86 && defined(__GNUC__) && !defined(__clang__)
  asm("" : "+v"(v.raw));  // NOLINT(hicpp-no-assembler)
#else
  static_cast<void>(v);
#endif
}

// Sum of a[i] * b[i] over a padded row; `size` is a multiple of 16. Four sums in flight hide the latency of the adds.
HWY_INLINE float Dot(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, size_t size) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  size_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
    sum1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), sum1);
    sum2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), sum2);
    sum3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), sum3);
  }
  for (; i < size; i += lanes) sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

// y[i] += scale * x[i] over a padded row.
HWY_INLINE void AddScaled(float scale, const float* HWY_RESTRICT x, float* HWY_RESTRICT y, size_t size) {
  const FloatTag d;
  const FloatVec s = hn::Set(d, scale);
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    hn::StoreU(hn::MulAdd(s, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  }
}

// The normal distribution function and density at x. Abramowitz & Stegun 7.1.26: absolute error of erf below 1.5e-7.
struct Normal {
  FloatVec distribution, density;
};

HWY_INLINE Normal NormalOf(FloatVec x) {
  const FloatTag d;
  const FloatVec half = hn::Set(d, 0.5f), one = hn::Set(d, 1.0f);
  const FloatVec z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678118654752f));
  const FloatVec t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911f), one));
  FloatVec p = hn::MulAdd(t, hn::Set(d, 1.061405429f), hn::Set(d, -1.453152027f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.421413741f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.284496736f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.254829592f));
  const FloatVec gauss = hn::Exp(d, hn::Neg(hn::Mul(z, z)));  // exp(-x^2 / 2)
  const FloatVec upper_tail = hn::Mul(hn::Mul(hn::Mul(p, t), gauss), half);
  const FloatVec distribution = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), upper_tail, hn::Sub(one, upper_tail));
  return {distribution, hn::Mul(gauss, hn::Set(d, 0.39894228040143268f))};
}

HWY_INLINE FloatVec ActivateVec(Activation activation, FloatVec x) {
  const FloatTag d;
  if (activation == Activation::kRelu) return hn::Max(x, hn::Zero(d));
  return hn::Mul(x, NormalOf(x).distribution);
}

HWY_INLINE FloatVec ActivateDerivativeVec(Activation activation, FloatVec x) {
  const FloatTag d;
  if (activation == Activation::kRelu) return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0f));
  const Normal normal = NormalOf(x);
  return hn::MulAdd(x, normal.density, normal.distribution);
}

// out[i] = act(x[i]); `size` is a multiple of 16 and the arrays may be the same.
HWY_INLINE void ActivateRow(Activation activation, const float* x, float* out, size_t size) {
  const FloatTag d;
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    hn::StoreU(ActivateVec(activation, hn::LoadU(d, x + i)), d, out + i);
  }
}

// out[i] = act(-x[i]).
HWY_INLINE void ActivateNegatedRow(Activation activation, const float* x, float* out, size_t size) {
  const FloatTag d;
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    hn::StoreU(ActivateVec(activation, hn::Neg(hn::LoadU(d, x + i))), d, out + i);
  }
}

HWY_INLINE float LargestMagnitude(const float* x, size_t count) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec first = hn::Zero(d), second = first;
  size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    first = hn::Max(first, hn::Abs(hn::LoadU(d, x + i)));
    second = hn::Max(second, hn::Abs(hn::LoadU(d, x + i + lanes)));
  }
  float largest = hn::GetLane(hn::MaxOfLanes(d, hn::Max(first, second)));
  for (; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  return largest;
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_SIMD_INL_H_
