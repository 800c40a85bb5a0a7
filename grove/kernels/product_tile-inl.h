// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The tile that products of matrices are made of, compiled once per target: rows of x times a packed panel, all sums of
// the tile in registers.

#include <cstddef>
#include <type_traits>

#include "grove/base/aligned.h"
#include "grove/base/bf16.h"
#include "grove/kernels/simd-inl.h"
#include "grove/kernels/tile_rows.h"

#if defined(GROVE_KERNELS_PRODUCT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_PRODUCT_TILE_INL_H_
#undef GROVE_KERNELS_PRODUCT_TILE_INL_H_
#else
#define GROVE_KERNELS_PRODUCT_TILE_INL_H_
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

// What is asked for while a tile is computed, if anything: the lines at `at`, every four steps `step` bytes on, which
// are no more than kMostLinesAhead lines.
constexpr size_t kMostLinesAhead = 4;
struct TileAhead {
  const char* at = nullptr;
  size_t step = 0;
};

// A few steps of the sum: the next values of each row times rows of weights.
template <size_t kSteps, size_t kRows, size_t kVectors>
HWY_INLINE void AddSteps(TileRows<float, kRows>& x, const float* HWY_RESTRICT w, size_t stride, size_t second,
                         FloatVec (&sums)[kRows][kVectors]) {
  const FloatTag d;
  HWY_UNROLL(4)
  for (size_t s = 0; s < kSteps; ++s, w += stride) {
    FloatVec w0 = hn::LoadU(d, w), w1 = hn::LoadU(d, w + second);
    KeepInRegister(w0);
    if (kVectors > 1) KeepInRegister(w1);
    HWY_UNROLL(12)
    for (size_t r = 0; r < kRows; ++r) {
      const FloatVec value = hn::Set(d, x.row(r)[s]);
      sums[r][0] = hn::MulAdd(value, w0, sums[r][0]);
      if (kVectors > 1) sums[r][kVectors - 1] = hn::MulAdd(value, w1, sums[r][kVectors - 1]);
    }
  }
  x.Move(kSteps);
}

// The steps of a tile, four at once; kLines cache lines are asked for each time, the last of which may lie behind the
// end of what is wanted.
template <size_t kLines, size_t kRows, size_t kVectors>
HWY_INLINE void AddDepth(TileRows<float, kRows>& x, const TileWeights& weights, size_t depth, TileAhead ahead,
                         FloatVec (&sums)[kRows][kVectors]) {
  constexpr size_t kAtOnce = 4;
  const float* HWY_RESTRICT w = weights.at;
  const size_t second = kVectors > 1 ? weights.second : 0, whole = depth / kAtOnce;
  for (size_t k = 0; k < whole; ++k, w += kAtOnce * weights.stride) {
    HWY_UNROLL(4)
    for (size_t l = 0; l < kLines; ++l) __builtin_prefetch(ahead.at + l * kCacheLineBytes, 0, 2);
    ahead.at += ahead.step;
    AddSteps<kAtOnce>(x, w, weights.stride, second, sums);
  }
  for (size_t k = whole * kAtOnce; k < depth; ++k, w += weights.stride) {
    AddSteps<1>(x, w, weights.stride, second, sums);
  }
}

// sums[r][v] += sum over k < depth of x[r x_stride + k] w[k][v], in this order for every kRows.
template <size_t kRows, size_t kVectors>
HWY_INLINE void AddTile(const float* x, size_t x_stride, const TileWeights& weights, size_t depth, TileAhead ahead,
                        FloatVec (&sums)[kRows][kVectors]) {
  TileRows<float, kRows> rows(x, x_stride);
  if (ahead.step > 2 * kCacheLineBytes) return AddDepth<kMostLinesAhead>(rows, weights, depth, ahead, sums);
  if (ahead.step > kCacheLineBytes) return AddDepth<2>(rows, weights, depth, ahead, sums);
  if (ahead.at == nullptr) return AddDepth<0>(rows, weights, depth, ahead, sums);
  AddDepth<1>(rows, weights, depth, ahead, sums);
}

// The even and the odd numbers of 2 lanes in bf16, as floats.
HWY_INLINE FloatVec EvenBf16(const Bf16* from) {
  const hn::RebindToUnsigned<FloatTag> bits;
  const auto pairs = hn::LoadU(bits, reinterpret_cast<const uint32_t*>(from));
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(pairs));
}
HWY_INLINE FloatVec OddBf16(const Bf16* from) {
  const hn::RebindToUnsigned<FloatTag> bits;
  const auto pairs = hn::LoadU(bits, reinterpret_cast<const uint32_t*>(from));
  return hn::BitCast(FloatTag(), hn::And(pairs, hn::Set(bits, 0xFFFF0000u)));
}

// Weights in bf16, steps of the sum in pairs: from [pairs, columns, 2], rows `stride` numbers apart, to floats
// [2 pairs, columns]. `columns` is a multiple of a vector's.
HWY_INLINE void WidenPairs(const Bf16* HWY_RESTRICT from, size_t stride, size_t pairs, size_t columns,
                           float* HWY_RESTRICT to) {
  const FloatTag d;
  for (size_t p = 0; p < pairs; ++p, from += stride, to += 2 * columns) {
    for (size_t c = 0; c < columns; c += hn::Lanes(d)) {
      hn::StoreU(EvenBf16(from + 2 * c), d, to + c);
      hn::StoreU(OddBf16(from + 2 * c), d, to + columns + c);
    }
  }
}

template <size_t kRows, size_t kVectors>
HWY_INLINE void LoadTile(const float* from, size_t stride, FloatVec (&sums)[kRows][kVectors]) {
  const FloatTag d;
  HWY_UNROLL(12)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::LoadU(d, from + r * stride + v * hn::Lanes(d));
  }
}

template <size_t kRows, size_t kVectors>
HWY_INLINE void ZeroTile(FloatVec (&sums)[kRows][kVectors]) {
  HWY_UNROLL(12)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(FloatTag());
  }
}

template <size_t kRows, size_t kVectors>
HWY_INLINE void StoreTile(const FloatVec (&sums)[kRows][kVectors], float* to, size_t stride) {
  const FloatTag d;
  HWY_UNROLL(12)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (size_t v = 0; v < kVectors; ++v) hn::StoreU(sums[r][v], d, to + r * stride + v * hn::Lanes(d));
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

#endif  // GROVE_KERNELS_PRODUCT_TILE_INL_H_
