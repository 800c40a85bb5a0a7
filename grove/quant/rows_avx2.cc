// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// int8 for machines without VNNI: the exact products of int8_avx2-inl.h. Activations stay signed bytes. bf16 has no
// instruction there and keeps its portable loops.
#include "grove/quant/row_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#include <algorithm>

#pragma GCC push_options
#pragma GCC target("avx2")
#include "grove/quant/int8_avx2-inl.h"

namespace grove {
namespace {

inline int32_t Total(__m256i sum) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}

template <size_t kTokens>
inline void DotTile(const int8_t* w, size_t row, const uint8_t* const* x, const std::byte* const* ahead,
                    int32_t* dots) {
  constexpr size_t kStep = 8 * Int8Avx2::kBytes;  // a line of the tokens ahead is asked for: a fourth of their rows
  __m256i sum[kTokens];
#pragma GCC unroll 4
  for (size_t t = 0; t < kTokens; ++t) sum[t] = _mm256_setzero_si256();
  const auto add = [&](size_t i) {
    const __m256i weights = Int8Avx2::Load(w + i), magnitude = _mm256_abs_epi8(weights);
#pragma GCC unroll 4
    for (size_t t = 0; t < kTokens; ++t) {
      sum[t] = Int8Avx2::Add(sum[t], weights, magnitude, Int8Avx2::Load(x[t] + i));
    }
  };
  size_t i = 0;
  for (; i + kStep <= row; i += kStep) {
#pragma GCC unroll 4
    for (size_t t = 0; ahead && t < kTokens; ++t) __builtin_prefetch(ahead[t] + i / 4, 0, 2);
#pragma GCC unroll 8
    for (size_t v = 0; v < 8; ++v) add(i + v * Int8Avx2::kBytes);
  }
  for (; i < row; i += Int8Avx2::kBytes) add(i);
#pragma GCC unroll 4
  for (size_t t = 0; t < kTokens; ++t) dots[t] = Total(sum[t]);
}

void Int8Dots(const int8_t* w, size_t row, const uint8_t* const* x, const void* const* asked, size_t count,
              int32_t* dots) {
  const auto* const* ahead = reinterpret_cast<const std::byte* const*>(asked);
  size_t t = 0;
  const auto next = [&] { return ahead ? ahead + t : nullptr; };
  for (; t + 4 <= count; t += 4) DotTile<4>(w, row, x + t, next(), dots + t);
  if (count - t == 3) return DotTile<3>(w, row, x + t, next(), dots + t);
  if (count - t == 2) return DotTile<2>(w, row, x + t, next(), dots + t);
  if (count - t == 1) DotTile<1>(w, row, x + t, next(), dots + t);
}

struct Int8Path {
  const int8_t* const* rows;
  size_t quads;
  Into into;
};

// Of the 64 columns from `column` on 16: in lanes 2 half and 2 half + 1 of the rows (OutPosition()), the first two or
// the last two of their four groups of columns.
template <size_t kTokens, bool kLast>
inline void OutputTile(const Int8Path& path, const uint32_t* const* values, const float* scales, size_t column,
                       size_t half, float* const* y) {
  __m256i sum[kTokens][2];
#pragma GCC unroll 4
  for (size_t t = 0; t < kTokens; ++t) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
  const auto interleave = [](__m256i a, __m256i b) {
    return kLast ? _mm256_unpackhi_epi8(a, b) : _mm256_unpacklo_epi8(a, b);
  };
  for (size_t q = 0; q < path.quads; ++q) {
    const auto load = [&](size_t r) { return Int8Avx2::Load(path.rows[4 * q + r] + column + half * 32); };
    const __m256i ab = interleave(load(0), load(1)), cd = interleave(load(2), load(3));
    const __m256i w[2] = {_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd)};
    const __m256i magnitude[2] = {_mm256_abs_epi8(w[0]), _mm256_abs_epi8(w[1])};
#pragma GCC unroll 4
    for (size_t t = 0; t < kTokens; ++t) {
      const __m256i value = _mm256_set1_epi32(static_cast<int>(values[t][q]));
      sum[t][0] = Int8Avx2::Add(sum[t][0], w[0], magnitude[0], value);
      sum[t][1] = Int8Avx2::Add(sum[t][1], w[1], magnitude[1], value);
    }
  }
#pragma GCC unroll 4
  for (size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
    for (size_t v = 0; v < 2; ++v) {
      float* target = y[t] + column + (kLast ? 32 : 0) + 16 * v + 8 * half;
      __m256 value = _mm256_mul_ps(_mm256_set1_ps(scales[t]), _mm256_cvtepi32_ps(sum[t][v]));
      if (path.into == Into::kSum) value = _mm256_add_ps(_mm256_loadu_ps(target), value);
      path.into == Into::kMemory ? _mm256_stream_ps(target, value) : _mm256_storeu_ps(target, value);
    }
  }
}

template <size_t kTokens>
void OutputRows(const Int8Path& path, const uint32_t* const* values, const float* scales, Columns columns,
                float* const* y) {
  for (size_t c = columns.begin; c < columns.end; c += 64) {
    for (size_t half = 0; half < 2; ++half) {
      OutputTile<kTokens, false>(path, values, scales, c, half, y);
      OutputTile<kTokens, true>(path, values, scales, c, half, y);
    }
  }
}

void Int8Outputs(const int8_t* const* rows, size_t quads, const uint32_t* const* values, const float* scales,
                 Columns columns, size_t count, Into into, float* const* y) {
  constexpr decltype(&OutputRows<1>) kRows[] = {OutputRows<1>, OutputRows<2>, OutputRows<3>, OutputRows<4>};
  kRows[count - 1]({rows, quads, into}, values, scales, columns, y);
}

void Int8Block(const uint8_t* const* a, size_t rows, size_t groups, const int8_t* b, size_t columns, int32_t* c) {
  for (size_t column = 0; column < columns; column += 16) {
    Int8BlockColumns(a, rows, {b + 4 * column, 4 * columns, groups}, false, c + column, columns);
  }
}

}  // namespace
}  // namespace grove
#pragma GCC pop_options

namespace grove {

const RowKernels* Avx2RowKernels() {
  static const RowKernels kernels = [] {
    RowKernels made = PortableRowKernels();
    made.name = "AVX2";
    made.int8_shift = 0;
    made.int8_dots = Int8Dots;
    made.int8_outputs = Int8Outputs;
    made.int8_block = Int8Block;
    return made;
  }();
  return __builtin_cpu_supports("avx2") ? &kernels : nullptr;
}

}  // namespace grove
#else
namespace grove {
const RowKernels* Avx2RowKernels() { return nullptr; }
}  // namespace grove
#endif
