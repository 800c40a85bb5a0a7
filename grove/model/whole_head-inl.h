// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Keys and values of a head as integers of 16 bits, in pairs as tiles read them, compiled once per target.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "grove/kernels/transpose-inl.h"
#include "grove/model/attention_whole.h"
#include "grove/model/softmax_block-inl.h"

#if defined(GROVE_MODEL_WHOLE_HEAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_MODEL_WHOLE_HEAD_INL_H_
#undef GROVE_MODEL_WHOLE_HEAD_INL_H_
#else
#define GROVE_MODEL_WHOLE_HEAD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using IntTag = hn::RebindToSigned<FloatTag>;
using IntVec = hn::Vec<IntTag>;

struct WholeKeys {
  size_t count = 0;                    // keys
  size_t padded = 0;                   // to whole tiles
  size_t depth = 0;                    // head width
  size_t value_stride = 0;             // head width, to whole tiles
  const int16_t* keys = nullptr;       // [depth / 2 rounded up, padded, 2], zeros beyond the last key
  const float* key_steps = nullptr;    // [padded]: the size of a step
  const int16_t* values = nullptr;     // [padded / 2, value_stride, 2]: two keys' values, zeros beyond the last key
  const float* value_steps = nullptr;  // [value_stride]
};

#if HWY_TARGET == HWY_SCALAR
inline IntVec LoadPairs(const int16_t* from) {
  int32_t pair;
  std::memcpy(&pair, from, sizeof(pair));
  return hn::Set(IntTag(), pair);
}
inline void StorePairs(IntVec pairs, int16_t* to) { std::memcpy(to, &pairs.raw, sizeof(pairs.raw)); }
#else
HWY_INLINE IntVec LoadPairs(const int16_t* from) {
  return hn::BitCast(IntTag(), hn::LoadU(hn::Repartition<int16_t, IntTag>(), from));
}
HWY_INLINE void StorePairs(IntVec pairs, int16_t* to) {
  const hn::Repartition<int16_t, IntTag> d;
  hn::StoreU(hn::BitCast(d, pairs), d, to);
}
#endif

// As many steps as leave a sum of `depth` products 31 bits.
inline float StepsOfDepth(size_t depth) {
  return std::min(16383.0f, std::floor(std::sqrt(2147483000.0f / static_cast<float>(depth))));
}

// Below, steps / largest is infinite: such numbers are nothing but noise.
inline float InverseStep(float largest, float steps) { return largest > 1e-34f ? steps / largest : 0.0f; }
inline float Step(float largest, float steps) { return largest > 1e-34f ? largest / steps : 1.0f; }

// A row's `depth` numbers, with zeros up to whole tiles: in `copy`, or where they are.
HWY_INLINE const float* Padded(const float* row, const WholeKeys& head, float* copy) {
  if (head.depth == head.value_stride) return row;
  std::fill(std::copy_n(row, head.depth, copy), copy + head.value_stride, 0.0f);
  return copy;
}

// to[i] = round(x[i] / step), with the step that makes the largest `steps`; returns it. `size`: a multiple of 16.
HWY_INLINE float RoundToShorts(const float* x, size_t size, float steps, int16_t* to) {
  const FloatTag d;
  const hn::Rebind<int16_t, FloatTag> short_tag;
  const float largest = LargestMagnitude(x, size);
  const FloatVec inverse = hn::Set(d, InverseStep(largest, steps));
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    const IntVec rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), inverse));
    hn::StoreU(hn::DemoteTo(short_tag, rounded), short_tag, to + i);
  }
  return Step(largest, steps);
}

// kAttentionPad rounded keys, `stride` apart, to columns of `to` [pairs, padded, 2].
HWY_INLINE void TransposePairs(const int16_t* keys, size_t stride, size_t pairs, size_t padded, int16_t* to) {
  const float* rows[kAttentionPad];  // a float's bits are a pair; only vectors move them
  for (size_t k = 0; k < kAttentionPad; ++k) rows[k] = reinterpret_cast<const float*>(keys + k * stride);
  const size_t fours = TransposeFours(rows, kAttentionPad, pairs, reinterpret_cast<float*>(to), padded);
  for (size_t p = fours == 0 ? 0 : pairs / 4 * 4; p < pairs; ++p) {
    for (size_t k = 0; k < kAttentionPad; ++k) {
      std::memcpy(to + 2 * (p * padded + k), keys + k * stride + 2 * p, 2 * sizeof(*to));
    }
  }
}

// Keys of the sequence, in order: all rows if none is one.
HWY_INLINE size_t KeyRows(const HeadRows& from, AlignedArray<const float*>& array) {
  const float** rows = AtLeast(array, from.rows.count);
  size_t count = 0;
  for (const bool all : {false, true}) {
    for (size_t r = from.rows.begin; count < from.rows.count && r < from.rows.begin + from.rows.count; ++r) {
      const bool is_key = from.is_key == nullptr || from.is_key[r] != 0;
      if (all || is_key) rows[count++] = from.qkv + r * from.stride + from.depth;
    }
    if (count != 0) break;
  }
  return count;
}

HWY_INLINE void PackKeys(const float* const* rows, const WholeKeys& head, WholeScratch& scratch, int16_t* keys,
                         float* steps) {
  const size_t stride = head.value_stride, pairs = (head.depth + 1) / 2;
  int16_t* rounded = AtLeast(scratch.rounded, kAttentionPad * stride);
  for (size_t first = 0; first < head.padded; first += kAttentionPad) {
    for (size_t k = first; k < first + kAttentionPad; ++k) {
      int16_t* to = rounded + (k - first) * stride;
      if (k < head.count) {
        steps[k] = RoundToShorts(Padded(rows[k], head, scratch.padded.data()), stride, StepsOfDepth(head.depth), to);
      } else {
        std::fill(to, to + stride, int16_t{0}), steps[k] = 1.0f;
      }
      if (k + 4 < head.count) PrefetchFloats(rows[k + 4], 2 * head.depth);
    }
    TransposePairs(rounded, stride, pairs, head.padded, keys + 2 * first);
  }
}

HWY_INLINE void PackValues(const float* const* rows, const WholeKeys& head, float* padded, int16_t* values,
                           float* steps, float* inverse) {
  const FloatTag d;
  const IntTag di;
  const size_t stride = head.value_stride;
  std::fill(steps, steps + stride, 0.0f);
  for (size_t k = 0; k < head.count; ++k) {
    const float* value = Padded(rows[k] + head.depth, head, padded);
    for (size_t c = 0; c < stride; c += hn::Lanes(d)) {
      hn::StoreU(hn::Max(hn::LoadU(d, steps + c), hn::Abs(hn::LoadU(d, value + c))), d, steps + c);
    }
  }
  for (size_t c = 0; c < stride; ++c) {
    inverse[c] = InverseStep(steps[c], kValueSteps), steps[c] = Step(steps[c], kValueSteps);
  }
  for (size_t k = 0; k < head.padded; k += 2) {
    if (k >= head.count) {
      std::fill_n(values + k * stride, 2 * stride, int16_t{0});
      continue;
    }
    const bool two = k + 1 < head.count;
    const float* first = Padded(rows[k] + head.depth, head, padded);
    const float* second = two ? Padded(rows[k + 1] + head.depth, head, padded + stride) : first;
    for (size_t c = 0; c < stride; c += hn::Lanes(d)) {
      const FloatVec by = hn::LoadU(d, inverse + c);
      const IntVec low = hn::And(hn::NearestInt(hn::Mul(hn::LoadU(d, first + c), by)), hn::Set(di, 0xFFFF));
      const IntVec high = hn::ShiftLeft<16>(hn::NearestInt(hn::Mul(hn::LoadU(d, second + c), by)));
      StorePairs(two ? hn::Or(low, high) : low, values + k * stride + 2 * c);
    }
  }
}

HWY_INLINE WholeKeys PackWholeHead(const HeadRows& from, WholeScratch& scratch) {
  WholeKeys head{.count = KeyRows(from, scratch.rows), .depth = from.depth, .value_stride = PadColumns(from.depth)};
  head.padded = PadColumns(head.count);
  AtLeast(scratch.padded, 2 * head.value_stride);
  float* steps = AtLeast(scratch.steps, head.padded + 2 * head.value_stride);
  int16_t* keys = AtLeast(scratch.keys, (head.depth + 1) / 2 * 2 * head.padded);
  int16_t* values = AtLeast(scratch.values, head.padded * head.value_stride);
  float* value_steps = steps + head.padded;
  PackKeys(scratch.rows.data(), head, scratch, keys, steps);
  PackValues(scratch.rows.data(), head, scratch.padded.data(), values, value_steps, value_steps + head.value_stride);
  head.keys = keys, head.key_steps = steps, head.values = values, head.value_steps = value_steps;
  return head;
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_MODEL_WHOLE_HEAD_INL_H_
