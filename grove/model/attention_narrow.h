// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Inside of attention.cc: attention in bf16, with the tile registers of AMX or AVX512-BF16. Needs
// HasNarrowAttention().
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/bf16.h"

namespace grove {

inline constexpr size_t kAttentionPad = 32;  // keys, and columns of values, in whole tiles of any target
inline constexpr size_t kKeyBlock = 256;     // keys that a tile of queries meets at a time

// One head of one sequence, its depth even.
struct HeadOfSequence {
  const Bf16* query;  // in the first row; its key and value follow it, `depth` numbers each
  size_t stride, count, depth;
  const uint8_t* is_key;  // of the rows, or null: all are
  Bf16* out;              // in the first row
  size_t out_stride;
};

// softmax(q k^T / sqrt(depth)) v; probabilities and what comes out rounded to bf16, sums in fp32.
void AttendHeadNarrow(const HeadOfSequence& head);

// Some rows of scores with one block of keys, kKeyBlock apart: of `padded` scores, a multiple of kAttentionPad, `count`
// are of keys.
struct ScoreRows {
  float* scores;
  size_t rows, count, padded;
  float *largest, *sum;  // of each row so far: -infinity and 0 before the first block
  float* shrink;         // by how much what was gathered before has to shrink
  float scale;
};

// In place: exp(scale (score - largest so far)), 0 where no key is.
void SoftmaxOfRows(const ScoreRows& rows);

}  // namespace grove
