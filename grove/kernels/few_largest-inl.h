// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A few of the largest of some dozens of values, compiled once per target: by a sorted list or, where they fit, in
// registers, since a list costs a wrong guess of the processor for most of what enters it.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "grove/kernels/simd-inl.h"

#if defined(GROVE_KERNELS_FEW_LARGEST_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_FEW_LARGEST_INL_H_
#undef GROVE_KERNELS_FEW_LARGEST_INL_H_
#else
#define GROVE_KERNELS_FEW_LARGEST_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// A place in the tree that the search has reached: a leaf, or the root of a subtree.
struct Reached {
  float log_p;
  uint32_t index;  // from the left, of its level
  // Of equals the leftmost.
  bool Before(const Reached& other) const {
    return log_p > other.log_p || (log_p == other.log_p && index < other.index);
  }
};

// The `most` first of those that it was offered; places has room for them.
class BestReached {
 public:
  BestReached(Reached* places, size_t most) : best_(places), most_(most) {}

  HWY_INLINE void Offer(float log_p, size_t index) {
    const Reached next{log_p, static_cast<uint32_t>(index)};
    if (size_ == most_ && !next.Before(best_[most_ - 1])) return;
    size_t at = size_ == most_ ? most_ - 1 : size_++;
    for (; at > 0 && next.Before(best_[at - 1]); --at) best_[at] = best_[at - 1];
    best_[at] = next;
  }
  // One that is behind all that are there, and before all that will be offered in vain.
  HWY_INLINE void Append(float log_p, size_t index) { best_[size_++] = {log_p, static_cast<uint32_t>(index)}; }
  size_t size() const { return size_; }
  const Reached& operator[](size_t i) const { return best_[i]; }

 private:
  Reached* best_;
  size_t most_, size_ = 0;
};

// Of kVectors vectors.
template <size_t kVectors, class Take>
HWY_INLINE void TakeLargestOf(const float* values, size_t most, const Take& take) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  const FloatVec lowest = hn::Set(d, -std::numeric_limits<float>::infinity()), first = hn::Iota(d, 0.0f);
  FloatVec rest[kVectors];
  HWY_UNROLL(8)
  for (size_t v = 0; v < kVectors; ++v) rest[v] = hn::LoadU(d, values + v * lanes);
  for (size_t i = 0; i < most; ++i) {
    FloatVec top = rest[0];
    HWY_UNROLL(8)
    for (size_t v = 1; v < kVectors; ++v) top = hn::Max(top, rest[v]);
    top = hn::MaxOfLanes(d, top);
    intptr_t lane = -1;
    size_t at = 0;
    HWY_UNROLL(8)
    for (size_t v = 0; v < kVectors; ++v) {
      const intptr_t found = lane >= 0 ? -1 : hn::FindFirstTrue(d, hn::Eq(rest[v], top));
      if (found >= 0) lane = found, at = v;
    }
    if (lane < 0) lane = 0;  // not numbers
    take(hn::GetLane(top), at * lanes + static_cast<size_t>(lane));
    const FloatVec taken = hn::Set(d, static_cast<float>(lane));
    HWY_UNROLL(8)
    for (size_t v = 0; v < kVectors; ++v) {
      if (v == at) rest[v] = hn::IfThenElse(hn::Eq(first, taken), lowest, rest[v]);
    }
  }
}

// Calls take(value, index) for the `most` largest of values [count], largest first, of equals the first. False, without
// a call, where that is not quicker than a list: for many of them, or counts that are no power of two of vectors.
template <class Take>
HWY_INLINE bool TakeLargest(const float* values, size_t count, size_t most, const Take& take) {
  constexpr size_t kFew = 8;
  const size_t lanes = hn::Lanes(FloatTag());
  if (most > kFew || most > count || lanes < 4) return false;
  if (count == lanes) return TakeLargestOf<1>(values, most, take), true;
  if (count == 2 * lanes) return TakeLargestOf<2>(values, most, take), true;
  if (count == 4 * lanes) return TakeLargestOf<4>(values, most, take), true;
  if (count == 8 * lanes) return TakeLargestOf<8>(values, most, take), true;
  return false;
}

// Bit i: whether values[i] >= least, for i < count <= 64, a multiple of a vector's lanes or less than one.
HWY_INLINE uint64_t BitsOfAtLeast(const float* values, size_t count, float least) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  uint64_t bits = 0;
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    uint8_t bytes[8] = {};
    uint64_t some = 0;
    hn::StoreMaskBits(d, hn::Ge(hn::LoadU(d, values + i), hn::Set(d, least)), bytes);
    std::memcpy(&some, bytes, sizeof(some));
    bits |= some << i;
  }
  for (; i < count; ++i) bits |= uint64_t{values[i] >= least} << i;
  return bits;
}

// values [1], a root's, become values [2^levels]: those of its descendants, from the left, where a step to the left of
// the n-th node, breadth-first, adds left[n], one to the right right[n].
HWY_INLINE void SpreadDown(const float* right, const float* left, size_t levels, float* values) {
  const hn::CappedTag<float, 8> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t level = 0, nodes = 1; level < levels; ++level, right += nodes, left += nodes, nodes *= 2) {
    if (nodes >= lanes && lanes > 1) {
      for (size_t i = nodes; i > 0;) {
        i -= lanes;
        const auto from = hn::LoadU(d, values + i);
        hn::StoreInterleaved2(hn::Add(from, hn::LoadU(d, left + i)), hn::Add(from, hn::LoadU(d, right + i)), d,
                              values + 2 * i);
      }
      continue;
    }
    for (size_t i = nodes; i-- > 0;) {
      const float from = values[i];
      values[2 * i] = from + left[i];
      values[2 * i + 1] = from + right[i];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_FEW_LARGEST_INL_H_
