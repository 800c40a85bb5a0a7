// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Panels of 8-bit weights for AVX2, where no instruction adds up four products of bytes in 32 bits. The one that there
// is multiplies unsigned by signed bytes and adds pairs in 16 bits. A row is x + 128 = 1 ... 255, so that a pair fits
// if its two weights differ in sign or their magnitudes add up to at most 128: three instructions for 32 products.
// Where they add up to more, |w| times x with the sign of w is multiplied, whose pairs always fit: five instructions.
// Both are exact.
//
// A panel is two halves of 16 columns. In each, groups of 4 inputs whose pairs all fit come first: 45 to 55 % of
// normally distributed weights, 90 % of a t distribution with 5 degrees of freedom. How they are ordered changes no sum
// of integers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/model/dense_panels.h"

namespace grove {

// By rows of a tile, kMaxTileRows + 1 of them; null if the program was built without them or `in` is too large.
const Int8Tile* Avx2Tiles(size_t in);

// Of 32 columns.
size_t Avx2PanelBytes(size_t in);

// weights [columns, in], columns <= 32. panel: Avx2PanelBytes(in), aligned to a cache line. sums [columns]: of the
// weights that are multiplied by x + 128 in place of x.
void PackAvx2Panel(const int8_t* weights, size_t in, size_t columns, int8_t* panel, int32_t* sums);

// What was packed for a column, [in].
void CopyAvx2Column(const int8_t* panel, size_t in, size_t column, int8_t* weights);

}  // namespace grove
