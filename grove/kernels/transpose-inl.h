// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Rows to columns, compiled once per target.

#include <cstddef>

#include "grove/kernels/simd-inl.h"

#if defined(GROVE_KERNELS_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_TRANSPOSE_INL_H_
#undef GROVE_KERNELS_TRANSPOSE_INL_H_
#else
#define GROVE_KERNELS_TRANSPOSE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// to[i * stride + r] = rows[r][i] for whole fours of rows and of their values; returns how many rows that were.
#if HWY_TARGET == HWY_SCALAR
inline size_t TransposeFours(const float* const*, size_t, size_t, float*, size_t) { return 0; }
#else
HWY_INLINE size_t TransposeFours(const float* const* rows, size_t count, size_t width, float* to, size_t stride) {
  const hn::FixedTag<float, 4> d;
  for (size_t r = 0; r + 4 <= count; r += 4) {
    for (size_t i = 0; i + 4 <= width; i += 4) {
      const auto row0 = hn::LoadU(d, rows[r] + i), row1 = hn::LoadU(d, rows[r + 1] + i);
      const auto row2 = hn::LoadU(d, rows[r + 2] + i), row3 = hn::LoadU(d, rows[r + 3] + i);
      const auto low02 = hn::InterleaveLower(d, row0, row2), low13 = hn::InterleaveLower(d, row1, row3);
      const auto high02 = hn::InterleaveUpper(d, row0, row2), high13 = hn::InterleaveUpper(d, row1, row3);
      float* column = to + i * stride + r;
      hn::StoreU(hn::InterleaveLower(d, low02, low13), d, column);
      hn::StoreU(hn::InterleaveUpper(d, low02, low13), d, column + stride);
      hn::StoreU(hn::InterleaveLower(d, high02, high13), d, column + 2 * stride);
      hn::StoreU(hn::InterleaveUpper(d, high02, high13), d, column + 3 * stride);
    }
  }
  return count / 4 * 4;
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_TRANSPOSE_INL_H_
