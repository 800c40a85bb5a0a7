// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Keys and values of a head as tiles read them, compiled once per target.

#include <algorithm>
#include <array>
#include <cstddef>

#include "grove/kernels/transpose-inl.h"
#include "grove/model/attention_head.h"

#if defined(GROVE_MODEL_ATTENTION_KEYS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_MODEL_ATTENTION_KEYS_INL_H_
#undef GROVE_MODEL_ATTENTION_KEYS_INL_H_
#else
#define GROVE_MODEL_ATTENTION_KEYS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

constexpr size_t kRowsAhead = 4;  // whose keys and values are asked for while others are packed
using KeyPointers = std::array<const float*, kAttentionPad>;

// Some keys to columns of `to`, [depth, padded], and zeros up to kAttentionPad columns.
HWY_INLINE void TransposeKeys(const KeyPointers& keys, size_t count, size_t depth, size_t padded, float* to) {
  const size_t fours = TransposeFours(keys.data(), count, depth, to, padded);
  for (size_t i = 0; i < depth; ++i, to += padded) {
    const bool whole = i < depth / 4 * 4;
    for (size_t k = whole ? fours : 0; k < count; ++k) to[k] = keys[k][i];
    std::fill(to + count, to + kAttentionPad, 0.0f);
  }
}

HWY_INLINE bool IsKey(const uint8_t* is_key, size_t row) { return is_key == nullptr || is_key[row] != 0; }

// Keys transposed in blocks of 32 rows, so that what is written are whole cache lines. `memory`: depth *
// PadColumns(rows) + rows * PadColumns(depth) floats.
HWY_INLINE HeadKeys PackHead(const HeadRows& from, float* memory) {
  const size_t depth = from.depth, begin = from.rows.begin, end = begin + from.rows.count;
  const uint8_t* is_key = from.is_key;
  size_t count = 0;
  for (size_t r = begin; r < end; ++r) count += IsKey(is_key, r) ? 1 : 0;
  if (count == 0) is_key = nullptr;
  HeadKeys head{.count = count == 0 ? from.rows.count : count, .depth = depth, .value_stride = PadColumns(depth)};
  head.padded = PadColumns(head.count);
  float* keys = memory;
  float* values = memory + depth * head.padded;
  KeyPointers block{};
  size_t to = 0;
  for (size_t r = begin; r < end; ++r) {
    PrefetchFloats(from.qkv + std::min(r + kRowsAhead, end - 1) * from.stride + depth, 2 * depth);
    if (!IsKey(is_key, r)) continue;
    const float* key = from.qkv + r * from.stride + depth;
    block[to % kAttentionPad] = key;
    float* value = values + to * head.value_stride;
    std::fill(std::copy_n(key + depth, depth, value), value + head.value_stride, 0.0f);
    if (++to % kAttentionPad == 0) TransposeKeys(block, kAttentionPad, depth, head.padded, keys + to - kAttentionPad);
  }
  if (to % kAttentionPad != 0)
    TransposeKeys(block, to % kAttentionPad, depth, head.padded, keys + to / kAttentionPad * kAttentionPad);
  head.keys = keys;
  head.values = values;
  return head;
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_MODEL_ATTENTION_KEYS_INL_H_
