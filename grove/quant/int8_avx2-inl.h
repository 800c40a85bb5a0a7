// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Exact sums of products of signed bytes with AVX2, to be included where `#pragma GCC target("avx2")` holds.
//
// The instruction that multiplies bytes takes unsigned times signed ones and adds pairs in 16 bits, which overflow in
// general. |w| times (x with the sign of w) cannot: x is -127 ... 127, so that a pair is at most 2 * 128 * 127 =
// 32,512, whatever w. |w| is computed once for all rows of x. Four instructions for 32 products; widening both sides to
// 16 bits takes as many, and more for the widening: 94 against 120 GOP/s on a Zen 3 core.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace grove {

struct Int8Avx2 {
  static constexpr size_t kBytes = 32;

  static __m256i Load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
  static __m256i Repeat(const void* four) {
    int value;
    std::memcpy(&value, four, sizeof(value));
    return _mm256_set1_epi32(value);
  }
  // sum[i] + the four products of lane i.
  static __m256i Add(__m256i sum, __m256i w, __m256i magnitude, __m256i x) {
    const __m256i ones = _mm256_set1_epi16(1);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, w)), ones));
  }
};

// Where the weights of a block are: groups of 4 inputs `stride` bytes apart, each 4 bytes a column.
struct Int8Weights {
  const int8_t* weights;
  size_t stride, groups;
};

// c[r * c_stride + n] (+)= sum over groups g of a[r][4g ... 4g + 3] times 4 weights of column n; 8 kVectors columns.
template <size_t kRows, size_t kVectors>
[[gnu::noinline]] void Int8BlockTile(const uint8_t* const* a, const Int8Weights& block, bool add, int32_t* c,
                                     size_t c_stride) {
  const uint8_t* x[kRows];
  __m256i sum[kRows][kVectors];
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
    x[r] = a[r];
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      sum[r][v] = add ? Int8Avx2::Load(c + r * c_stride + 8 * v) : _mm256_setzero_si256();
    }
  }
  const int8_t* weights = block.weights;
  for (size_t g = 0; g < block.groups; ++g, weights += block.stride) {
    __m256i w[kVectors], magnitude[kVectors];
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      w[v] = Int8Avx2::Load(weights + v * Int8Avx2::kBytes);
      asm("" : "+x"(w[v]));  // NOLINT(hicpp-no-assembler): in a register, see KeepInRegister() of kernels/simd-inl.h
      magnitude[v] = _mm256_abs_epi8(w[v]);
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const __m256i value = Int8Avx2::Repeat(x[r] + 4 * g);
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; ++v) {
        sum[r][v] = Int8Avx2::Add(sum[r][v], w[v], magnitude[v], value);
        asm volatile(""
                     : "+x"(sum[r][v]));  // NOLINT(hicpp-no-assembler): in this order, or GCC 12 runs out of registers
      }
    }
  }
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(c + r * c_stride + 8 * v), sum[r][v]);
    }
  }
}

// 16 columns of any number of rows, four rows at a time.
inline void Int8BlockColumns(const uint8_t* const* a, size_t rows, const Int8Weights& block, bool add, int32_t* c,
                             size_t c_stride) {
  size_t r = 0;
  for (; r + 4 <= rows; r += 4) Int8BlockTile<4, 2>(a + r, block, add, c + r * c_stride, c_stride);
  switch (rows - r) {
    case 3:
      return Int8BlockTile<3, 2>(a + r, block, add, c + r * c_stride, c_stride);
    case 2:
      return Int8BlockTile<2, 2>(a + r, block, add, c + r * c_stride, c_stride);
    case 1:
      return Int8BlockTile<1, 2>(a + r, block, add, c + r * c_stride, c_stride);
  }
}

}  // namespace grove
