// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Attention with the product that gives it queries, keys and values, a few heads at a time: those of one task stay in
// the caches of the core that computes them, where the rows of all heads would go to memory and back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/bf16.h"
#include "grove/base/thread_pool.h"
#include "grove/model/attention.h"
#include "grove/model/dense_product.h"

namespace grove {

// What attention gathers, [rows, width]: in fp32 or, where HasNarrowProjection(), in bf16.
struct MixedRows {
  float* y;
  Bf16* narrow;  // in place of y if not null
  size_t stride;
};

// Whether query, key and value are in bf16 between the product and attention.
bool HasNarrowProjection(const DenseProduct& query_key_value, const AttentionShape& shape);

// SelfAttention() of the rows of `query_key_value` times x [rows, width], with the same bits.
void ProjectedAttention(const DenseProduct& query_key_value, const AttentionShape& shape, const float* x, size_t rows,
                        const uint8_t* is_key, const MixedRows& mixed, ThreadPool& pool);

}  // namespace grove
