// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <cstddef>

namespace grove {

// Where the rows of a tile of kRows, up to 12, are: three to a pointer, which hides from the compiler where it came
// from. With a pointer to each of 12 rows GCC 12 runs out of registers and fetches some of them from vector registers,
// on a port that multiplies. Pointers move once for several steps of a sum, since additions of integers take such
// ports, too.
template <class Value, size_t kRows>
struct TileRows {
  const Value *rows0, *rows3, *rows6, *rows9;
  size_t stride;

  TileRows(const Value* x, size_t x_stride)
      : rows0(x),
        rows3(kRows > 3 ? x + 3 * x_stride : x),
        rows6(kRows > 6 ? x + 6 * x_stride : x),
        rows9(kRows > 9 ? x + 9 * x_stride : x),
        stride(x_stride) {}
  [[gnu::always_inline]] const Value* row(size_t r) const {
    return (r < 3 ? rows0 : r < 6 ? rows3 : r < 9 ? rows6 : rows9) + r % 3 * stride;
  }
  [[gnu::always_inline]] void Move(size_t values) {
    rows0 += values, rows3 += values, rows6 += values, rows9 += values;
    if (kRows <= 3) return;
    asm("" : "+r"(rows0), "+r"(rows3), "+r"(rows6), "+r"(rows9));  // NOLINT(hicpp-no-assembler)
  }
};

}  // namespace grove
