// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The softmax of a row of scores, a block of keys after another (arXiv 2205.14135), compiled once per target.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "grove/base/check.h"
#include "grove/kernels/exact_exp-inl.h"
#include "grove/kernels/gelu-inl.h"
#include "grove/model/attention_amx.h"

#if defined(GROVE_MODEL_SOFTMAX_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_MODEL_SOFTMAX_BLOCK_INL_H_
#undef GROVE_MODEL_SOFTMAX_BLOCK_INL_H_
#else
#define GROVE_MODEL_SOFTMAX_BLOCK_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// sums[i] += sums[i + kHalf], i < kHalf
template <size_t kHalf>
HWY_INLINE void AddHalves(float* sums) {
  const hn::CappedTag<float, kHalf> d;
  for (size_t i = 0; i < kHalf; i += hn::Lanes(d)) {
    hn::StoreU(hn::Add(hn::LoadU(d, sums + i), hn::LoadU(d, sums + kHalf + i)), d, sums + i);
  }
}

// The sum of a row, in one order for every target: 16 sums, then halves of them.
HWY_INLINE float SumInOneOrder(const float* x, size_t padded) {
  HWY_ALIGN float sums[16];
  const FloatTag d;
  for (size_t lane = 0; lane < 16; lane += hn::Lanes(d)) {
    FloatVec sum = hn::Zero(d);
    for (size_t i = 0; i < padded; i += 16) sum = hn::Add(sum, hn::LoadU(d, x + i + lane));
    hn::Store(sum, d, sums + lane);
  }
  AddHalves<8>(sums), AddHalves<4>(sums), AddHalves<2>(sums);
  return sums[0] + sums[1];
}

// Calls run(std::integral_constant<size_t, n>, i) for n vectors from x[i] on, as many abreast as hide each other's
// latency; `padded` is a multiple of kAttentionPad.
template <class Run>
HWY_INLINE void ForVectors(size_t padded, const Run& run) {
  GROVE_DCHECK(padded % kAttentionPad == 0);
  constexpr size_t kMost = 4;
  const size_t lanes = hn::Lanes(FloatTag());
  size_t i = 0;
  for (; i + kMost * lanes <= padded; i += kMost * lanes) run(std::integral_constant<size_t, kMost>(), i);
  for (; i < padded; i += kMost / 2 * lanes) run(std::integral_constant<size_t, kMost / 2>(), i);
}

// As SoftmaxBlock(), with the same bits on every target.
HWY_INLINE float ExactSoftmaxBlock(float* x, size_t count, size_t padded, float& largest, float& sum) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  std::fill(x + count, x + padded, -std::numeric_limits<float>::infinity());
  FloatVec top = hn::Set(d, largest);
  for (size_t i = 0; i < padded; i += lanes) top = hn::Max(top, hn::LoadU(d, x + i));
  top = hn::MaxOfLanes(d, top);
  ForVectors(padded, [&](auto count_abreast, size_t i) HWY_ATTR {
    constexpr size_t kAbreast = decltype(count_abreast)::value;
    FloatVec powers[kAbreast];
    Abreast<kAbreast>([&](size_t v) HWY_ATTR { powers[v] = hn::Sub(hn::LoadU(d, x + i + v * lanes), top); });
    ExactExp(powers);
    Abreast<kAbreast>([&](size_t v) HWY_ATTR { hn::StoreU(TwelveBits(powers[v]), d, x + i + v * lanes); });
  });
  const float before = largest;
  largest = hn::GetLane(top);
  const float shrink = ExactExpOf(before - largest);
  sum = sum * shrink + SumInOneOrder(x, padded);
  return shrink;
}

// In place, of one row of scores [padded], of which `count` are of keys: exp(scale (x - largest so far)). Returns by
// how much what was gathered before has to shrink.
HWY_INLINE float SoftmaxBlock(float* x, size_t count, size_t padded, float scale, float& largest, float& sum) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  std::fill(x + count, x + padded, -std::numeric_limits<float>::infinity());
  FloatVec top = hn::Set(d, largest);
  for (size_t i = 0; i < padded; i += lanes) top = hn::Max(top, hn::LoadU(d, x + i));
  top = hn::MaxOfLanes(d, top);
  FloatVec total = hn::Zero(d);
  ForVectors(padded, [&](auto count_abreast, size_t i) HWY_ATTR {
    constexpr size_t kAbreast = decltype(count_abreast)::value;
    FloatVec powers[kAbreast];
    Abreast<kAbreast>([&](size_t v) HWY_ATTR {
      powers[v] = hn::Mul(hn::Sub(hn::LoadU(d, x + i + v * lanes), top), hn::Set(d, scale));
    });
    ExpOfNegative<true>(powers);
    Abreast<kAbreast>([&](size_t v) HWY_ATTR {
      hn::StoreU(powers[v], d, x + i + v * lanes);
      total = hn::Add(total, powers[v]);
    });
  });
  const float before = largest;
  largest = hn::GetLane(top);
  const float shrink = std::exp((before - largest) * scale);  // 0 in the first block
  sum = sum * shrink + hn::GetLane(hn::SumOfLanes(d, total));
  return shrink;
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_MODEL_SOFTMAX_BLOCK_INL_H_
