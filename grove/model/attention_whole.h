// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Inside of attention.cc: attention in whole numbers, for models in int8. Queries, keys, values and probabilities
// become integers of 16 bits, and sums of their products are exact: every instruction set gives the same bits, most of
// them at twice the rate of floats.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/model/attention_head.h"

namespace grove {

// How fine the integers are. A query and a key: in steps of their row's largest value, as many as leave their product's
// sum 31 bits. A value: in steps of the largest of its column in this sequence. A probability: in steps of the largest
// so far. kSharesAtOnce products of a probability and a value fit 31 bits together.
inline constexpr float kShareSteps = 16384.0f, kValueSteps = 1023.0f;
inline constexpr size_t kSharesAtOnce = 128;

// Memory of a thread that survives from call to call.
struct WholeScratch {
  AlignedArray<const float*> rows;  // the keys of the sequence
  AlignedArray<int16_t> keys, values, rounded;
  AlignedArray<float> steps, padded, mixed;
};
WholeScratch& ThreadWholeScratch();

// softmax(q k^T / sqrt(depth)) v of one head of one sequence, from `from` to `out`, rows `out_stride` apart.
void AttendHeadWhole(const HeadRows& from, float* out, size_t out_stride);

}  // namespace grove
