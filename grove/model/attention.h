// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "grove/base/bf16.h"
#include "grove/base/thread_pool.h"

namespace grove {

// Rows of a packed batch that attend to each other.
struct SequenceRows {
  size_t begin = 0;
  size_t count = 0;
};

struct AttentionShape {
  std::span<const SequenceRows> sequences;
  size_t heads = 0;
  size_t head_width = 0;
  // In whole numbers, to which queries, keys, values and probabilities are rounded: every target gives the same bits.
  bool exact = false;

  size_t width() const { return heads * head_width; }
};

// Softmax attention of every sequence and head. `qkv` [rows, heads, 3, head_width] holds query, key and value of a head
// next to each other, as crammedBERT's query_key_value gives them; `out` [rows, width]. `is_key` [rows] or null: rows
// where it is 0 are no keys, unless a sequence has no other.
//
// Tiles of 12 queries (6 with 16 registers) meet 256 keys at a time; the softmax is corrected from block to block
// (arXiv 2205.14135), so scores never leave the first-level cache. A row has the same result in any batch, on any
// number of threads.
void SelfAttention(const AttentionShape& shape, const float* qkv, const uint8_t* is_key, float* out, ThreadPool& pool);
// With rows of `out` that lie `out_stride` apart.
void SelfAttention(const AttentionShape& shape, const float* qkv, const uint8_t* is_key, float* out, size_t out_stride,
                   ThreadPool& pool);

// The same in bf16, probabilities too, with sums in fp32. Only where HasNarrowAttention(): with the tile registers of
// AMX or where ActiveTargetMultipliesBf16(), heads of an even width. `exact` is not looked at.
struct NarrowAttentionRows {
  const Bf16* qkv;  // [rows, heads, 3, head_width], rows `stride` apart
  size_t stride;
  Bf16* out;  // [rows, width], rows `out_stride` apart
  size_t out_stride;
};
bool HasNarrowAttention(size_t head_width);
void NarrowSelfAttention(const AttentionShape& shape, const NarrowAttentionRows& rows, const uint8_t* is_key,
                         ThreadPool& pool);

}  // namespace grove
