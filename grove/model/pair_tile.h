// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Inside of attention_whole.cc: products of rows of 16-bit integers, two steps of a sum an instruction (AVX512-VNNI).
#pragma once

#include <cstddef>
#include <cstdint>

namespace grove {

inline constexpr size_t kMostPairRows = 12;

// One tile: c[r c_stride + n] = sum over g < groups, i < 2 of a[r a_stride + 2g + i] b[(g b_stride + n) 2 + i], n < the
// columns of two vectors. Sums must fit 32 bits.
struct PairOperands {
  const int16_t* a;
  size_t a_stride, groups;
  const int16_t* b;
  size_t b_stride;
  int32_t* c;
  size_t c_stride;
};
using PairTile = void (*)(const PairOperands&);

// By number of rows, 1 to kMostPairRows, for 32 columns; null where the machine has no AVX512-VNNI.
const PairTile* VnniPairTiles();

}  // namespace grove
