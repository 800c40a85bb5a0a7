// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The tile that products of matrices are made of, compiled once per target: rows of x times a packed panel, all sums of
// the tile in registers.

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "grove/kernels/simd-inl.h"

#if defined(GROVE_MODEL_PRODUCT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_MODEL_PRODUCT_TILE_INL_H_
#undef GROVE_MODEL_PRODUCT_TILE_INL_H_
#else
#define GROVE_MODEL_PRODUCT_TILE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// As many sums as registers hold beside two weights and a value.
constexpr size_t kTileRows = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 12 : 6;
constexpr size_t kTileVectors = 2;
inline HWY_ATTR size_t TileColumns() { return kTileVectors * hn::Lanes(FloatTag()); }

// Where a tile's weights are: those of step k and vector v at at[k * stride + v * second].
struct TileWeights {
  const float* at;
  size_t stride, second;
};

// What is asked for while a tile is computed: a cache line every `every` steps, none if 0.
struct TileAhead {
  const char* line = nullptr;
  size_t every = 0;
};

// sums[r][v] += sum over k < depth of x[r x_stride + k] w[k][v], in this order for every kRows.
template <size_t kRows>
HWY_INLINE void AddTile(const float* HWY_RESTRICT x, size_t x_stride, const TileWeights& weights, size_t depth,
                        TileAhead ahead, FloatVec (&sums)[kRows][kTileVectors]) {
  // Three rows to a pointer, which hides from the compiler where it came from: with a pointer to each of 12 rows GCC 12
  // runs out of registers and fetches some of them from vector registers, on a port that multiplies.
  const FloatTag d;
  const float* HWY_RESTRICT w = weights.at;
  const float *rows0 = x, *rows3 = x + 3 * x_stride, *rows6 = x + 6 * x_stride, *rows9 = x + 9 * x_stride;
  const size_t every = ahead.every > 0 ? ahead.every : depth;
  for (size_t k = 0; k < depth;) {
    if (ahead.every > 0) __builtin_prefetch(ahead.line, 0, 2);
    ahead.line += kCacheLineBytes;
    for (const size_t end = std::min(k + every, depth); k < end; ++k, w += weights.stride) {
      FloatVec w0 = hn::LoadU(d, w), w1 = hn::LoadU(d, w + weights.second);
      KeepInRegister(w0);
      KeepInRegister(w1);
      HWY_UNROLL(12)
      for (size_t r = 0; r < kRows; ++r) {
        const float* row = r < 3 ? rows0 : r < 6 ? rows3 : r < 9 ? rows6 : rows9;
        const FloatVec value = hn::Set(d, row[r % 3 * x_stride]);
        sums[r][0] = hn::MulAdd(value, w0, sums[r][0]);
        sums[r][1] = hn::MulAdd(value, w1, sums[r][1]);
      }
      ++rows0, ++rows3, ++rows6, ++rows9;
      asm("" : "+r"(rows0), "+r"(rows3), "+r"(rows6), "+r"(rows9));  // NOLINT(hicpp-no-assembler)
    }
  }
}

template <size_t kRows>
HWY_INLINE void LoadTile(const float* from, size_t stride, FloatVec (&sums)[kRows][kTileVectors]) {
  const FloatTag d;
  HWY_UNROLL(12)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (size_t v = 0; v < kTileVectors; ++v) sums[r][v] = hn::LoadU(d, from + r * stride + v * hn::Lanes(d));
  }
}

template <size_t kRows>
HWY_INLINE void ZeroTile(FloatVec (&sums)[kRows][kTileVectors]) {
  HWY_UNROLL(12)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (size_t v = 0; v < kTileVectors; ++v) sums[r][v] = hn::Zero(FloatTag());
  }
}

template <size_t kRows>
HWY_INLINE void StoreTile(const FloatVec (&sums)[kRows][kTileVectors], float* to, size_t stride) {
  const FloatTag d;
  HWY_UNROLL(12)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (size_t v = 0; v < kTileVectors; ++v) hn::StoreU(sums[r][v], d, to + r * stride + v * hn::Lanes(d));
  }
}

// Calls run with std::integral_constant<size_t, rows>, 1 <= rows <= kTileRows.
template <class Run>
HWY_INLINE void WithTileRows(size_t rows, const Run& run) {
  switch (rows) {
#define GROVE_TILE_ROWS(n) \
  case n:                  \
    return run(std::integral_constant<size_t, n>());
    GROVE_TILE_ROWS(1)
    GROVE_TILE_ROWS(2)
    GROVE_TILE_ROWS(3)
    GROVE_TILE_ROWS(4)
    GROVE_TILE_ROWS(5)
    GROVE_TILE_ROWS(6)
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
    GROVE_TILE_ROWS(7)
    GROVE_TILE_ROWS(8)
    GROVE_TILE_ROWS(9)
    GROVE_TILE_ROWS(10)
    GROVE_TILE_ROWS(11)
    GROVE_TILE_ROWS(12)
#endif
#undef GROVE_TILE_ROWS
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_MODEL_PRODUCT_TILE_INL_H_
