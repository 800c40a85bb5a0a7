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

// Sums of term(row, a vector of it) over kRows rows of x, `width` apart, and of their tails alike: always 16 sums of a
// row in one order of additions, whatever the width of a vector, so that every instruction set gives the same bits. The
// sums of one row wait for each other: several rows are added abreast.
template <size_t kRows, class Term, class TailTerm>
HWY_INLINE void SumRows(const float* x, size_t width, const Term& term, const TailTerm& tail_term,
                        float (&totals)[kRows]) {
  const FloatTag d;
  constexpr size_t kSums = 16, kLanes = hn::MaxLanes(FloatTag()), kVectors = kSums / kLanes;
  FloatVec sums[kRows][kVectors];
  for (auto& of_row : sums) {
    for (FloatVec& sum : of_row) sum = hn::Zero(d);
  }
  size_t i = 0;
  for (; i + kSums <= width; i += kSums) {
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t v = 0; v < kVectors; ++v) {
        sums[r][v] = hn::Add(sums[r][v], term(r, hn::LoadU(d, x + r * width + i + v * kLanes)));
      }
    }
  }
  HWY_ALIGN float lanes[kRows][kSums];
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t v = 0; v < kVectors; ++v) hn::Store(sums[r][v], d, lanes[r] + v * kLanes);
    for (size_t tail = i, lane = 0; tail < width; ++tail, ++lane) lanes[r][lane] += tail_term(r, x[r * width + tail]);
  }
  for (size_t half = kSums / 2; half > 0; half /= 2) {
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t lane = 0; lane < half; ++lane) lanes[r][lane] += lanes[r][lane + half];
    }
  }
  for (size_t r = 0; r < kRows; ++r) totals[r] = lanes[r][0];
}

// Of the differences from the row's mean.
template <size_t kRows>
HWY_INLINE void SumSquares(const float* x, size_t width, const float (&means)[kRows], float (&totals)[kRows]) {
  const FloatTag d;
  SumRows<kRows>(
      x, width,
      [&](size_t r, FloatVec v) HWY_ATTR {
        const FloatVec off = hn::Sub(v, hn::Set(d, means[r]));
        return hn::Mul(off, off);
      },
      [&](size_t r, float v) { return (v - means[r]) * (v - means[r]); }, totals);
}

// Two passes: the difference of a sum of squares and a squared sum would lose what a large mean leaves of it.
template <size_t kRows>
HWY_INLINE void NormalizeAbreast(const float* x, size_t width, const float* weight, const float* bias, float eps,
                                 float* y) {
  const FloatTag d;
  float means[kRows], scales[kRows];
  SumRows<kRows>(
      x, width, [](size_t, FloatVec v) HWY_ATTR { return v; }, [](size_t, float v) { return v; }, means);
  for (float& mean : means) mean /= static_cast<float>(width);
  SumSquares<kRows>(x, width, means, scales);
  for (size_t r = 0; r < kRows; ++r, x += width, y += width) {
    const float mean = means[r], scale = 1.0f / std::sqrt(scales[r] / static_cast<float>(width) + eps);
    size_t i = 0;
    for (; i + hn::Lanes(d) <= width; i += hn::Lanes(d)) {
      const FloatVec off = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean)), hn::Set(d, scale));
      hn::StoreU(hn::Add(hn::Mul(off, hn::LoadU(d, weight + i)), hn::LoadU(d, bias + i)), d, y + i);
    }
    for (; i < width; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
  }
}

constexpr size_t kRowsAbreast = 4;

void NormalizeRowsSimd(const float* x, size_t rows, size_t width, const float* weight, const float* bias, float eps,
                       float* y) {
  size_t r = 0;
  for (; r + kRowsAbreast <= rows; r += kRowsAbreast) {
    NormalizeAbreast<kRowsAbreast>(x + r * width, width, weight, bias, eps, y + r * width);
  }
  for (; r < rows; ++r) NormalizeAbreast<1>(x + r * width, width, weight, bias, eps, y + r * width);
}

// y may be sum, which then is not kept.
void AddNormalizeRowsSimd(const float* HWY_RESTRICT x, size_t rows, size_t width, const float* weight,
                          const float* bias, float eps, float* sum, float* y) {
  for (size_t r = 0; r < rows;) {
    const size_t count = std::min(kRowsAbreast, rows - r), at = r * width;
    AddIntoSimd(x + at, count * width, sum + at);
    NormalizeRowsSimd(sum + at, count, width, weight, bias, eps, y + at);
    r += count;
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

void ActivateInPlace(Activation activation, size_t size, float* x) {
  HWY_DYNAMIC_DISPATCH(ActivateInPlaceSimd)(activation, size, x);
}

}  // namespace grove
#endif  // HWY_ONCE
