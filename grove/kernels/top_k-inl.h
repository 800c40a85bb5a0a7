// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The k largest values of a row, compiled once per target. A sorted list of the best so far; vectors that hold nothing
// better than its last entry, nearly all of a long row, cost one comparison.

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "grove/base/scratch.h"
#include "grove/kernels/simd-inl.h"

#if defined(GROVE_KERNELS_TOP_K_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_TOP_K_INL_H_
#undef GROVE_KERNELS_TOP_K_INL_H_
#else
#define GROVE_KERNELS_TOP_K_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Longer lists are sorted by the standard library: an insertion moves half a list.
inline constexpr size_t kMaxTopList = 64;

// Puts `value` into a falling list of `size` entries, behind its equals. One more entry must have room.
HWY_INLINE void InsertSorted(float value, uint32_t index, size_t size, float* top, uint32_t* indices) {
  size_t at = size;
  for (; at > 0 && top[at - 1] < value; --at) {
    top[at] = top[at - 1];
    indices[at] = indices[at - 1];
  }
  top[at] = value;
  indices[at] = index;
}

inline void TopKBySorting(const float* values, size_t count, size_t k, float* top, uint32_t* indices) {
  ScratchVector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), uint32_t{0});
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(k), order.end(),
                    [&](uint32_t a, uint32_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
  for (size_t s = 0; s < k; ++s) {
    indices[s] = order[s];
    top[s] = values[order[s]];
  }
}

// top, indices [k]: the k largest of values [count], falling; of equals the lower index. 1 <= k <= count.
HWY_INLINE void TopK(const float* values, size_t count, size_t k, float* top, uint32_t* indices) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  if (k > kMaxTopList) return TopKBySorting(values, count, k, top, indices);
  size_t i = 0;
  for (; i < k; ++i) InsertSorted(values[i], static_cast<uint32_t>(i), i, top, indices);
  const auto consider = [&](size_t at) {
    if (values[at] > top[k - 1]) InsertSorted(values[at], static_cast<uint32_t>(at), k - 1, top, indices);
  };
  for (; i + lanes <= count; i += lanes) {
    if (hn::AllFalse(d, hn::Gt(hn::LoadU(d, values + i), hn::Set(d, top[k - 1])))) continue;
    for (size_t lane = 0; lane < lanes; ++lane) consider(i + lane);
  }
  for (; i < count; ++i) consider(i);
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_TOP_K_INL_H_
