// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "grove/base/thread_pool.h"

namespace grove {

struct AttentionShape {
  size_t batch = 0;
  size_t length = 0;
  size_t heads = 0;
  size_t head_width = 0;

  size_t width() const { return heads * head_width; }
};

// Softmax attention of every sequence and head. `qkv` [batch, length, heads, 3, head_width] holds query, key and value
// of a head next to each other, as crammedBERT's query_key_value gives them; `out` [batch, length, width].
// `mask` [batch, length] or empty: where it is 0, 10000 is subtracted from the key's scores, as the reference does.
// Scores are kept for 128 queries of one head at a time and thread, never for the batch.
void SelfAttention(const AttentionShape& shape, const float* qkv, std::span<const uint8_t> mask, float* out,
                   ThreadPool& pool);

}  // namespace grove
