// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Small dense products on gathered rows, the arithmetic of a leaf: a few tokens, scattered in memory, times the block
// of weights they share. Register tiles of up to kTileRows rows x kTileVecs vectors. Every output element is one chain
// of fused multiply-adds in order of k, so that it does not depend on which rows share a call.

#include <cstddef>

#include "grove/base/scratch.h"
#include "grove/kernels/simd-inl.h"

#if defined(GROVE_KERNELS_BLOCK_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_BLOCK_PRODUCT_INL_H_
#undef GROVE_KERNELS_BLOCK_PRODUCT_INL_H_
#else
#define GROVE_KERNELS_BLOCK_PRODUCT_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// HWY_UNROLL: an array that a loop still indexes is kept on the stack, and GCC alone does not unroll a tile of this
// size.
//
// Accumulators, one row of B and a broadcast must fit the 16 (AVX2) or 32 (AVX-512) vector registers.
inline constexpr size_t kTileRows = 6;
inline constexpr size_t kTileVecs = HWY_MAX_BYTES >= 64 ? 4 : 2;

// Memory that comes next, asked for line by line while a product computes, into the second-level cache.
class LinesAhead {
 public:
  void Clear() { ranges_.clear(), range_ = lines_ = per_step_ = 0, line_ = end_ = nullptr; }
  void Add(const void* begin, size_t bytes) {
    const auto* first = static_cast<const std::byte*>(begin);
    ranges_.push_back({first, first + bytes});
    lines_ += bytes / kCacheLineBytes + 1;
  }
  // All of it within so many calls of Ask().
  void Spread(size_t steps) { per_step_ = lines_ / HWY_MAX(steps, 1) + 1; }
  HWY_INLINE void Ask() {
    for (size_t n = 0; n < per_step_; ++n, line_ += kCacheLineBytes) {
      if (line_ >= end_) {
        if (range_ == ranges_.size()) return;
        line_ = ranges_[range_].begin, end_ = ranges_[range_].end, ++range_;
      }
      __builtin_prefetch(line_, 0, 2);
    }
  }

 private:
  struct Range {
    const std::byte *begin, *end;
  };
  ScratchVector<Range> ranges_;
  size_t range_ = 0, lines_ = 0, per_step_ = 0;
  const std::byte *line_ = nullptr, *end_ = nullptr;
};

struct NothingAhead {
  HWY_INLINE void Ask() const {}
};

inline constexpr size_t kAskEvery = 16;  // products of a tile's row

// One tile of C = A B. epilogue(row, column, sums) receives each finished vector.
template <size_t kRows, size_t kVecs, class Epilogue, class Ahead>
HWY_INLINE void RowsTile(const float* const* a, size_t first_row, size_t depth, const float* b, size_t b_stride,
                         size_t column, const Epilogue& epilogue, Ahead& ahead) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec sum[kRows][kVecs];
  HWY_UNROLL(16)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(16)
    for (size_t v = 0; v < kVecs; ++v) sum[r][v] = hn::Zero(d);
  }
  for (size_t k = 0; k < depth;) {
    ahead.Ask();
    for (const size_t stop = HWY_MIN(depth, k + kAskEvery); k < stop; ++k) {
      FloatVec bk[kVecs];
      HWY_UNROLL(16)
      for (size_t v = 0; v < kVecs; ++v) bk[v] = hn::LoadU(d, b + k * b_stride + column + v * lanes);
      HWY_UNROLL(16)
      for (size_t r = 0; r < kRows; ++r) {
        const FloatVec ak = hn::Set(d, a[first_row + r][k]);
        HWY_UNROLL(16)
        for (size_t v = 0; v < kVecs; ++v) sum[r][v] = hn::MulAdd(ak, bk[v], sum[r][v]);
      }
    }
  }
  HWY_UNROLL(16)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(16)
    for (size_t v = 0; v < kVecs; ++v) epilogue(first_row + r, column + v * lanes, sum[r][v]);
  }
}

template <size_t kVecs, class Epilogue, class Ahead>
HWY_INLINE void RowsColumn(const float* const* a, size_t rows, size_t depth, const float* b, size_t b_stride,
                           size_t column, const Epilogue& epilogue, Ahead& ahead) {
  // A narrow tile takes more rows: their products hide each other's latency and share the loads of B.
  constexpr size_t kTallRows = kVecs * 2 <= kTileVecs ? 2 * kTileRows : kTileRows;
  size_t r = 0;
  for (; kTallRows > kTileRows && r + kTallRows <= rows; r += kTallRows) {
    RowsTile<kTallRows, kVecs>(a, r, depth, b, b_stride, column, epilogue, ahead);
  }
  for (; r + kTileRows <= rows; r += kTileRows)
    RowsTile<kTileRows, kVecs>(a, r, depth, b, b_stride, column, epilogue, ahead);
  switch (rows - r) {
    case 5:
      return RowsTile<5, kVecs>(a, r, depth, b, b_stride, column, epilogue, ahead);
    case 4:
      return RowsTile<4, kVecs>(a, r, depth, b, b_stride, column, epilogue, ahead);
    case 3:
      return RowsTile<3, kVecs>(a, r, depth, b, b_stride, column, epilogue, ahead);
    case 2:
      return RowsTile<2, kVecs>(a, r, depth, b, b_stride, column, epilogue, ahead);
    case 1:
      return RowsTile<1, kVecs>(a, r, depth, b, b_stride, column, epilogue, ahead);
    default:
      return;
  }
}

// C[r][n] = sum over k of a[r][k] * b[k][n], r < rows, k < depth, n < columns (a multiple of 16).
template <class Epilogue, class Ahead>
HWY_INLINE void RowsTimesMatrix(const float* const* a, size_t rows, size_t depth, const float* b, size_t b_stride,
                                size_t columns, const Epilogue& epilogue, Ahead& ahead) {
  const size_t lanes = hn::Lanes(FloatTag());
  size_t column = 0;
  for (; column + kTileVecs * lanes <= columns; column += kTileVecs * lanes) {
    RowsColumn<kTileVecs>(a, rows, depth, b, b_stride, column, epilogue, ahead);
  }
  for (; kTileVecs > 2 && column + 2 * lanes <= columns; column += 2 * lanes) {
    RowsColumn<2>(a, rows, depth, b, b_stride, column, epilogue, ahead);
  }
  for (; column < columns; column += lanes) RowsColumn<1>(a, rows, depth, b, b_stride, column, epilogue, ahead);
}

template <class Epilogue>
HWY_INLINE void RowsTimesMatrix(const float* const* a, size_t rows, size_t depth, const float* b, size_t b_stride,
                                size_t columns, const Epilogue& epilogue) {
  const NothingAhead nothing;
  RowsTimesMatrix(a, rows, depth, b, b_stride, columns, epilogue, nothing);
}

// Calls of Ask() in such a product, at least.
inline size_t AsksOfProduct(size_t rows, size_t depth, size_t columns) {
  const size_t lanes = hn::Lanes(FloatTag());
  const size_t tiles = HWY_MAX(columns / (kTileVecs * lanes), 1) * HWY_MAX(rows / (2 * kTileRows), 1);
  return tiles * (depth / kAskEvery);
}

// One tile of C += A^T B.
template <size_t kRows, size_t kVecs>
HWY_INLINE void OuterTile(const float* const* a, const float* const* b, size_t count, size_t row, size_t column,
                          float* c, size_t c_stride) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec sum[kRows][kVecs];
  HWY_UNROLL(16)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(16)
    for (size_t v = 0; v < kVecs; ++v) sum[r][v] = hn::LoadU(d, c + (row + r) * c_stride + column + v * lanes);
  }
  for (size_t t = 0; t < count; ++t) {
    FloatVec bt[kVecs];
    HWY_UNROLL(16)
    for (size_t v = 0; v < kVecs; ++v) bt[v] = hn::LoadU(d, b[t] + column + v * lanes);
    HWY_UNROLL(16)
    for (size_t r = 0; r < kRows; ++r) {
      const FloatVec at = hn::Set(d, a[t][row + r]);
      HWY_UNROLL(16)
      for (size_t v = 0; v < kVecs; ++v) sum[r][v] = hn::MulAdd(at, bt[v], sum[r][v]);
    }
  }
  HWY_UNROLL(16)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(16)
    for (size_t v = 0; v < kVecs; ++v) hn::StoreU(sum[r][v], d, c + (row + r) * c_stride + column + v * lanes);
  }
}

// C[r][n] += sum over t of a[t][r] * b[t][n], t < count, r < rows, n < columns (a multiple of 16): the weight gradient
// of the tokens of a leaf.
HWY_INLINE void TransposedTimesRows(const float* const* a, const float* const* b, size_t count, size_t rows,
                                    size_t columns, float* c, size_t c_stride) {
  const size_t lanes = hn::Lanes(FloatTag());
  for (size_t r = 0; r < rows;) {
    const bool full = r + kTileRows <= rows;
    size_t column = 0;
    for (; full && column + kTileVecs * lanes <= columns; column += kTileVecs * lanes) {
      OuterTile<kTileRows, kTileVecs>(a, b, count, r, column, c, c_stride);
    }
    for (; full && column < columns; column += lanes) OuterTile<kTileRows, 1>(a, b, count, r, column, c, c_stride);
    for (; !full && column < columns; column += lanes) OuterTile<1, 1>(a, b, count, r, column, c, c_stride);
    r += full ? kTileRows : 1;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_BLOCK_PRODUCT_INL_H_
