// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Panels of 8-bit weights for AVX2, where no instruction adds up four products of bytes in 32 bits. The one that there
// is multiplies unsigned by signed bytes and adds pairs in 16 bits. A row is x + 128 = 1 ... 255, so that a pair fits
// if its two weights add up to at most 128: three instructions for 32 products. Where both have the same sign and are
// large, the second is stored negated and multiplied by 127 - x, which is x + 128 with all bits flipped; what that adds
// to every sum is taken off again with the 128. A group of 4 inputs is flipped for 16 columns alike, in one of four
// patterns. Where none makes all of them fit, |w| times x with the sign of w is multiplied, whose pairs always do: five
// instructions. All are exact.
//
// A panel is two halves of 16 columns. In each, groups that fit as they are come first (normally distributed weights of
// 768 inputs: 56 %, of 3,072: 76 %), then those that fit when flipped (another 32 and 21 %). How they are ordered
// changes no sum of integers. On a Zen 3 core 256 products take 8.1, 9.2 and 12.4 cycles.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/model/dense_panels.h"

namespace grove {

// By rows of a tile, kMaxTileRows + 1 of them; null if the program was built without them or `in` is too large.
const Int8Tile* Avx2Tiles(size_t in);

// Of 32 columns.
size_t Avx2PanelBytes(size_t in);

// weights [columns, in], columns <= 32. panel: Avx2PanelBytes(in), aligned to a cache line. excess [columns]: what the
// sums of products have too much, see Int8Panels.
void PackAvx2Panel(const int8_t* weights, size_t in, size_t columns, int8_t* panel, int32_t* excess);

// What was packed for a column, [in].
void CopyAvx2Column(const int8_t* panel, size_t in, size_t column, int8_t* weights);

}  // namespace grove
