// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/row_ops.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "grove/base/aligned.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/model/row_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void AddIntoSimd(const float* HWY_RESTRICT x, size_t count, float* HWY_RESTRICT y) {
  const FloatTag d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  }
  for (; i < count; ++i) y[i] += x[i];
}

void MultiplyIntoSimd(const float* HWY_RESTRICT x, size_t count, float* HWY_RESTRICT y) {
  const FloatTag d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  }
  for (; i < count; ++i) y[i] *= x[i];
}

// Sum of term(a vector of x) over a row, and of its tail alike: always 16 sums in one order of additions, whatever the
// width of a vector, so that every instruction set gives the same bits.
template <class Term, class TailTerm>
HWY_INLINE float SumOfRow(const float* x, size_t width, const Term& term, const TailTerm& tail_term) {
  const FloatTag d;
  constexpr size_t kSums = 16, kLanes = hn::MaxLanes(FloatTag()), kVectors = kSums / kLanes;
  FloatVec sums[kVectors];
  for (size_t v = 0; v < kVectors; ++v) sums[v] = hn::Zero(d);
  size_t i = 0;
  for (; i + kSums <= width; i += kSums) {
    for (size_t v = 0; v < kVectors; ++v) sums[v] = hn::Add(sums[v], term(hn::LoadU(d, x + i + v * kLanes)));
  }
  HWY_ALIGN float lanes[kSums];
  for (size_t v = 0; v < kVectors; ++v) hn::Store(sums[v], d, lanes + v * kLanes);
  for (size_t lane = 0; i < width; ++i, ++lane) lanes[lane] += tail_term(x[i]);
  for (size_t half = kSums / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

HWY_INLINE float Mean(const float* x, size_t width) {
  const float sum = SumOfRow(
      x, width, [](FloatVec v) HWY_ATTR { return v; }, [](float v) { return v; });
  return sum / static_cast<float>(width);
}

// Of the differences from `mean`.
HWY_INLINE float SumOfSquares(const float* x, size_t width, float mean) {
  const FloatTag d;
  return SumOfRow(
      x, width,
      [&](FloatVec v) HWY_ATTR {
        const FloatVec off = hn::Sub(v, hn::Set(d, mean));
        return hn::Mul(off, off);
      },
      [&](float v) { return (v - mean) * (v - mean); });
}

// Two passes: the difference of a sum of squares and a squared sum would lose what a large mean leaves of it.
HWY_INLINE float Variance(const float* x, size_t width, float mean) {
  return SumOfSquares(x, width, mean) / static_cast<float>(width);
}

void NormalizeRowsSimd(const float* x, size_t rows, size_t width, const float* weight, const float* bias, float eps,
                       float* y) {
  const FloatTag d;
  for (size_t r = 0; r < rows; ++r, x += width, y += width) {
    const float mean = Mean(x, width);
    const float scale = 1.0f / std::sqrt(Variance(x, width, mean) + eps);
    size_t i = 0;
    for (; i + hn::Lanes(d) <= width; i += hn::Lanes(d)) {
      const FloatVec off = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean)), hn::Set(d, scale));
      hn::StoreU(hn::Add(hn::Mul(off, hn::LoadU(d, weight + i)), hn::LoadU(d, bias + i)), d, y + i);
    }
    for (; i < width; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
  }
}

// y may be sum, which then is not kept.
void AddNormalizeRowsSimd(const float* HWY_RESTRICT x, size_t rows, size_t width, const float* weight,
                          const float* bias, float eps, float* sum, float* y) {
  for (size_t r = 0; r < rows; ++r, x += width, sum += width, y += width) {
    AddIntoSimd(x, width, sum);
    NormalizeRowsSimd(sum, 1, width, weight, bias, eps, y);
  }
}

void ActivateInPlaceSimd(Activation activation, size_t size, float* x) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d), whole = size / lanes * lanes;
  ActivateRow(activation, x, x, whole);
  if (whole == size) return;
  HWY_ALIGN float rest[kCacheLineBytes / sizeof(float)] = {};
  std::copy_n(x + whole, size - whole, rest);
  ActivateRow(activation, rest, rest, lanes);
  std::copy_n(rest, size - whole, x + whole);
}

HWY_INLINE float LargestMagnitude(const float* x, size_t size) {
  const FloatTag d;
  FloatVec largest = hn::Zero(d);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= size; i += hn::Lanes(d)) largest = hn::Max(largest, hn::Abs(hn::LoadU(d, x + i)));
  float of_all = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < size; ++i) of_all = std::max(of_all, std::abs(x[i]));
  return of_all;
}

void RoundToBytesSimd(const float* HWY_RESTRICT x, size_t size, float& scale, uint8_t* HWY_RESTRICT to) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<uint8_t, FloatTag> du;
  constexpr float kSteps = 127.0f;
  // Below, kSteps / largest is infinite: such a row is nothing but noise of denormal numbers.
  const float largest = LargestMagnitude(x, size), inverse = largest > 1e-36f ? kSteps / largest : 0.0f;
  scale = largest / kSteps;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= size; i += hn::Lanes(d)) {
    const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)));
    hn::StoreU(hn::DemoteTo(du, hn::Add(rounded, hn::Set(di, 128))), du, to + i);
  }
  for (; i < size; ++i) to[i] = static_cast<uint8_t>(static_cast<int>(std::nearbyint(x[i] * inverse)) + 128);
}

void RoundToStepsSimd(const float* HWY_RESTRICT x, size_t size, float* HWY_RESTRICT to) {
  const FloatTag d;
  constexpr float kToInteger = 12582912.0f;  // 1.5 * 2^23: adding it and taking it away rounds
  const float norm = std::sqrt(SumOfSquares(x, size, 0.0f));
  const float most = kExactNorm - 1.0f - 0.5f * std::sqrt(static_cast<float>(size));  // before rounding
  int exponent = 0;
  std::frexp(norm / most, &exponent);
  const bool usable = norm > 1e-30f && std::isfinite(norm) && most > 1.0f;
  const float step = usable ? std::ldexp(1.0f, exponent) : 0.0f, inverse = usable ? std::ldexp(1.0f, -exponent) : 0.0f;
  const FloatVec whole = hn::Set(d, kToInteger);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= size; i += hn::Lanes(d)) {
    const FloatVec steps = hn::Sub(hn::Add(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)), whole), whole);
    hn::StoreU(hn::Mul(steps, hn::Set(d, step)), d, to + i);
  }
  for (; i < size; ++i) to[i] = ((x[i] * inverse + kToInteger) - kToInteger) * step;
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grove {
HWY_EXPORT(AddIntoSimd);
HWY_EXPORT(MultiplyIntoSimd);
HWY_EXPORT(NormalizeRowsSimd);
HWY_EXPORT(AddNormalizeRowsSimd);
HWY_EXPORT(ActivateInPlaceSimd);
HWY_EXPORT(RoundToBytesSimd);
HWY_EXPORT(RoundToStepsSimd);

void AddInto(const float* x, size_t count, float* y) { HWY_DYNAMIC_DISPATCH(AddIntoSimd)(x, count, y); }

void MultiplyInto(const float* x, size_t count, float* y) { HWY_DYNAMIC_DISPATCH(MultiplyIntoSimd)(x, count, y); }

void NormalizeRows(const float* x, size_t rows, size_t width, const float* weight, const float* bias, float eps,
                   float* y) {
  HWY_DYNAMIC_DISPATCH(NormalizeRowsSimd)(x, rows, width, weight, bias, eps, y);
}

void AddNormalizeRows(const float* x, size_t rows, size_t width, const float* weight, const float* bias, float eps,
                      float* sum, float* y) {
  HWY_DYNAMIC_DISPATCH(AddNormalizeRowsSimd)(x, rows, width, weight, bias, eps, sum, y);
}

void RoundToBytes(const float* x, size_t size, float& scale, uint8_t* to) {
  HWY_DYNAMIC_DISPATCH(RoundToBytesSimd)(x, size, scale, to);
}

void RoundToSteps(const float* x, size_t size, float* to) { HWY_DYNAMIC_DISPATCH(RoundToStepsSimd)(x, size, to); }

void ActivateInPlace(Activation activation, size_t size, float* x) {
  HWY_DYNAMIC_DISPATCH(ActivateInPlaceSimd)(activation, size, x);
}

}  // namespace grove
#endif  // HWY_ONCE
