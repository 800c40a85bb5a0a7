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
#include "grove/kernels/gelu-inl.h"
#include "grove/model/attention_narrow.h"

#if defined(GROVE_MODEL_SOFTMAX_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_MODEL_SOFTMAX_BLOCK_INL_H_
#undef GROVE_MODEL_SOFTMAX_BLOCK_INL_H_
#else
#define GROVE_MODEL_SOFTMAX_BLOCK_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

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
