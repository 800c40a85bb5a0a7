// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Inside of attention.cc: one head of one sequence.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/model/attention.h"
#include "grove/model/attention_narrow.h"

namespace grove {

inline size_t PadColumns(size_t n) { return (n + kAttentionPad - 1) / kAttentionPad * kAttentionPad; }

// The head's rows of `qkv`.
struct HeadRows {
  const float* qkv;  // the head's query in row 0 of the batch
  size_t stride, depth;
  SequenceRows rows;
  const uint8_t* is_key;
};

// Keys and values as tiles read them.
struct HeadKeys {
  size_t count = 0;               // keys
  size_t padded = 0;              // to whole tiles
  size_t depth = 0;               // head width
  size_t value_stride = 0;        // head width, to whole tiles
  const float* keys = nullptr;    // [depth, padded], zeros beyond the last key
  const float* values = nullptr;  // [count, value_stride]
};

// Queries: rows `stride` apart.
struct HeadQueries {
  const float* query;
  size_t stride, count;
  float* out;
  size_t out_stride;
};

// A head's part of a row comes from memory in pieces too short for the processor to see where the next one is.
inline void PrefetchFloats(const float* from, size_t count) {
  for (size_t i = 0; i < count; i += kCacheLineBytes / sizeof(float)) __builtin_prefetch(from + i);
}

}  // namespace grove
