// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Native dot products of AVX512-BF16 and AVX512-VNNI, which Highway 1.0.3 does not give. Several tokens share every
// load of a weight row; each token's sums have one order, however many tokens share a call.
#include "grove/quant/row_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own header: registers that an intrinsic leaves undefined on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,prefer-vector-width=512")

namespace grove {
namespace {

inline constexpr size_t kAccumulators = 4;  // of a dot product: they hide the latency of the instruction
inline constexpr size_t kVectorBytes = 64;

// kKeep: in a register, for several uses; GCC otherwise repeats the load as an operand of each (KeepInRegister() of
// kernels/simd-inl.h).
template <bool kKeep>
inline __m512i Load(const std::byte* from) {
  __m512i v = _mm512_loadu_si512(from);
  if (kKeep) asm("" : "+v"(v));  // NOLINT(hicpp-no-assembler)
  return v;
}

struct Bf16Dot {
  using Sum = __m512;
  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Add(Sum sum, __m512i w, __m512i x) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w));
  }
  static Sum AddBroadcast(Sum sum, const std::byte* w, __m512i x) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(_mm512_loadu_si512(w)));
  }
  static void Store(Sum sum, float* to) { _mm512_storeu_ps(to, sum); }
  static float Total(const Sum* s) {
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
  }
};

struct Int8Dot {
  using Sum = __m512i;
  static Sum Zero() { return _mm512_setzero_si512(); }
  static Sum Add(Sum sum, __m512i w, __m512i x) { return _mm512_dpbusd_epi32(sum, x, w); }
  static Sum AddBroadcast(Sum sum, const std::byte* w, __m512i x) {
    return _mm512_dpbusd_epi32(sum, x, _mm512_loadu_si512(w));
  }
  static void Store(Sum sum, int32_t* to) { _mm512_storeu_si512(to, sum); }
  static int32_t Total(const Sum* s) {
    return _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_add_epi32(s[0], s[1]), _mm512_add_epi32(s[2], s[3])));
  }
};

// results [kNodes, stride]
template <class Dot, size_t kTokens, size_t kNodes, class Result>
inline void DotTile(const std::byte* const* w, size_t bytes, const std::byte* const* x, const std::byte* const* ahead,
                    Result* results, size_t stride) {
  typename Dot::Sum sum[kNodes][kTokens][kAccumulators];
#pragma GCC unroll 8
  for (size_t n = 0; n < kNodes; ++n) {
#pragma GCC unroll 8
    for (size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
      for (size_t v = 0; v < kAccumulators; ++v) sum[n][t][v] = Dot::Zero();
    }
  }
  const auto add = [&](size_t i, size_t v) {
    __m512i token[kTokens];
#pragma GCC unroll 8
    for (size_t t = 0; t < kTokens; ++t) token[t] = Load<(kNodes > 1)>(x[t] + i);
#pragma GCC unroll 8
    for (size_t n = 0; n < kNodes; ++n) {
      const __m512i row = Load<(kTokens > 1)>(w[n] + i);
#pragma GCC unroll 8
      for (size_t t = 0; t < kTokens; ++t) sum[n][t][v] = Dot::Add(sum[n][t][v], row, token[t]);
    }
  };
  size_t i = 0;
  for (; i + kAccumulators * kVectorBytes <= bytes; i += kAccumulators * kVectorBytes) {
#pragma GCC unroll 8
    for (size_t t = 0; ahead && t < kTokens; ++t) {
      __builtin_prefetch(ahead[t] + i / 4, 0, 2);
      if (kNodes > 1) __builtin_prefetch(ahead[t] + bytes / 4 + i / 4, 0, 2);
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < kAccumulators; ++v) add(i + v * kVectorBytes, v);
  }
  for (; i < bytes; i += kVectorBytes) add(i, 0);
#pragma GCC unroll 8
  for (size_t n = 0; n < kNodes; ++n) {
#pragma GCC unroll 8
    for (size_t t = 0; t < kTokens; ++t) results[n * stride + t] = Dot::Total(sum[n][t]);
  }
}

template <class Dot, size_t kNodes, class Result>
inline void Dots(const void* const* weights, size_t bytes, const void* const* rows, const void* const* asked,
                 size_t count, Result* results) {
  constexpr size_t kTokens = kNodes == 1 ? 4 : 2, kStride = TreeArithmetic::kMostAtOnce;
  const auto* const* w = reinterpret_cast<const std::byte* const*>(weights);
  const auto* const* x = reinterpret_cast<const std::byte* const*>(rows);
  const auto* const* ahead = reinterpret_cast<const std::byte* const*>(asked);
  size_t t = 0;
  const auto next = [&] { return ahead ? ahead + t : nullptr; };
  for (; t + kTokens <= count; t += kTokens)
    DotTile<Dot, kTokens, kNodes>(w, bytes, x + t, next(), results + t, kStride);
  if (kTokens > 3 && count - t == 3) return DotTile<Dot, 3, kNodes>(w, bytes, x + t, next(), results + t, kStride);
  if (kTokens > 2 && count - t == 2) return DotTile<Dot, 2, kNodes>(w, bytes, x + t, next(), results + t, kStride);
  if (count - t == 1) DotTile<Dot, 1, kNodes>(w, bytes, x + t, next(), results + t, kStride);
}

void Bf16Logits(const uint16_t* w, float bias, size_t row, const uint16_t* const* x, const void* const* ahead,
                size_t count, float* logits) {
  const void* const weights = w;
  Dots<Bf16Dot, 1>(&weights, 2 * row, reinterpret_cast<const void* const*>(x), ahead, count, logits);
  for (size_t i = 0; i < count; ++i) logits[i] += bias;
}

void Bf16LogitsOfThree(const uint16_t* const* w, const float* biases, size_t row, const uint16_t* const* x,
                       const void* const* ahead, size_t count, float* logits) {
  Dots<Bf16Dot, 3>(reinterpret_cast<const void* const*>(w), 2 * row, reinterpret_cast<const void* const*>(x), ahead,
                   count, logits);
  for (size_t n = 0; n < 3; ++n) {
    for (size_t i = 0; i < count; ++i) logits[n * TreeArithmetic::kMostAtOnce + i] += biases[n];
  }
}

void Int8Dots(const int8_t* w, size_t row, const uint8_t* const* x, const void* const* ahead, size_t count,
              int32_t* dots) {
  const void* const weights = w;
  Dots<Int8Dot, 1>(&weights, row, reinterpret_cast<const void* const*>(x), ahead, count, dots);
}

inline void StoreRow(Into into, __m512 value, float* y) {
  into == Into::kMemory ? _mm512_stream_ps(y, value) : _mm512_storeu_ps(y, value);
}

// 32 columns of kTokens tokens.
template <size_t kTokens>
inline void Bf16OutputTile(const uint16_t* const* rows, size_t pairs, const uint32_t* const* scales, size_t column,
                           Into into, float* const* y) {
  __m512 sum[kTokens][2];
#pragma GCC unroll 8
  for (size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
    for (size_t v = 0; v < 2; ++v) {
      sum[t][v] = into == Into::kSum ? _mm512_loadu_ps(y[t] + column + 16 * v) : _mm512_setzero_ps();
    }
  }
  for (size_t p = 0; p < pairs; ++p) {
    const __m512i a = _mm512_loadu_si512(rows[2 * p] + column), b = _mm512_loadu_si512(rows[2 * p + 1] + column);
    const __m512bh low = reinterpret_cast<__m512bh>(_mm512_unpacklo_epi16(a, b));
    const __m512bh high = reinterpret_cast<__m512bh>(_mm512_unpackhi_epi16(a, b));
#pragma GCC unroll 8
    for (size_t t = 0; t < kTokens; ++t) {
      const __m512bh scale = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(scales[t][p])));
      sum[t][0] = _mm512_dpbf16_ps(sum[t][0], low, scale);
      sum[t][1] = _mm512_dpbf16_ps(sum[t][1], high, scale);
    }
  }
#pragma GCC unroll 8
  for (size_t t = 0; t < kTokens; ++t) {
    StoreRow(into, sum[t][0], y[t] + column);
    StoreRow(into, sum[t][1], y[t] + column + 16);
  }
}

// 64 columns of kTokens tokens.
template <size_t kTokens>
inline void Int8OutputTile(const int8_t* const* rows, size_t quads, const uint32_t* const* values, const float* scales,
                           const int32_t* begins, size_t column, Into into, float* const* y) {
  __m512i sum[kTokens][4];
#pragma GCC unroll 8
  for (size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
    for (size_t v = 0; v < 4; ++v) sum[t][v] = _mm512_set1_epi32(begins[t]);
  }
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  for (size_t q = 0; q < quads; ++q) {
    const auto load = [&](size_t r) { return _mm512_xor_si512(_mm512_loadu_si512(rows[4 * q + r] + column), flip); };
    const __m512i a = load(0), b = load(1), c = load(2), d = load(3);
    const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
    const __m512i columns[4] = {_mm512_unpacklo_epi16(ab_low, cd_low), _mm512_unpackhi_epi16(ab_low, cd_low),
                                _mm512_unpacklo_epi16(ab_high, cd_high), _mm512_unpackhi_epi16(ab_high, cd_high)};
#pragma GCC unroll 8
    for (size_t t = 0; t < kTokens; ++t) {
      const __m512i value = _mm512_set1_epi32(static_cast<int>(values[t][q]));
#pragma GCC unroll 8
      for (size_t v = 0; v < 4; ++v) sum[t][v] = _mm512_dpbusd_epi32(sum[t][v], columns[v], value);
    }
  }
#pragma GCC unroll 8
  for (size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
    for (size_t v = 0; v < 4; ++v) {
      float* target = y[t] + column + 16 * v;
      __m512 value = _mm512_mul_ps(_mm512_set1_ps(scales[t]), _mm512_cvtepi32_ps(sum[t][v]));
      if (into == Into::kSum) value = _mm512_add_ps(_mm512_loadu_ps(target), value);
      StoreRow(into, value, target);
    }
  }
}

template <size_t kTokens>
void Bf16OutputRows(const uint16_t* const* rows, size_t pairs, const uint32_t* const* scales, Columns columns,
                    Into into, float* const* y) {
  for (size_t c = columns.begin; c < columns.end; c += 32) Bf16OutputTile<kTokens>(rows, pairs, scales, c, into, y);
}

template <size_t kTokens>
void Int8OutputRows(const int8_t* const* rows, size_t quads, const uint32_t* const* values, const float* scales,
                    Columns columns, Into into, float* const* y) {
  // A signed weight w is multiplied as u8, w + 128 = w ^ 0x80: 128 times the values' sum is too much.
  int32_t begins[kTokens] = {};
  for (size_t t = 0; t < kTokens; ++t) {
    for (size_t i = 0; i < 4 * quads; ++i) begins[t] -= 128 * static_cast<int8_t>(values[t][i / 4] >> (i % 4 * 8));
  }
  for (size_t c = columns.begin; c < columns.end; c += 64)
    Int8OutputTile<kTokens>(rows, quads, values, scales, begins, c, into, y);
}

void Bf16Outputs(const uint16_t* const* rows, size_t pairs, const uint32_t* const* scales, Columns columns,
                 size_t count, Into into, float* const* y) {
  constexpr decltype(&Bf16OutputRows<1>) kRows[] = {Bf16OutputRows<1>, Bf16OutputRows<2>, Bf16OutputRows<3>,
                                                    Bf16OutputRows<4>};
  kRows[count - 1](rows, pairs, scales, columns, into, y);
}

void Int8Outputs(const int8_t* const* rows, size_t quads, const uint32_t* const* values, const float* scales,
                 Columns columns, size_t count, Into into, float* const* y) {
  constexpr decltype(&Int8OutputRows<1>) kRows[] = {Int8OutputRows<1>, Int8OutputRows<2>, Int8OutputRows<3>,
                                                    Int8OutputRows<4>};
  kRows[count - 1](rows, quads, values, scales, columns, into, y);
}

// One tile of C: kRows x 16 kVecs. A row's group of values is 4 bytes.
template <class Dot, size_t kRows, size_t kVecs, class Value>
inline void BlockTile(const std::byte* const* a, size_t groups, const std::byte* b, size_t columns, size_t column,
                      Value* c) {
  typename Dot::Sum sum[kRows][kVecs];
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (size_t v = 0; v < kVecs; ++v) sum[r][v] = Dot::Zero();
  }
  for (size_t g = 0; g < groups; ++g) {
    const std::byte* row = b + 4 * (g * columns + column);
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      const __m512i value = _mm512_set1_epi32(*reinterpret_cast<const int*>(a[r] + 4 * g));
#pragma GCC unroll 8
      for (size_t v = 0; v < kVecs; ++v) sum[r][v] = Dot::AddBroadcast(sum[r][v], row + v * kVectorBytes, value);
    }
  }
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (size_t v = 0; v < kVecs; ++v) Dot::Store(sum[r][v], c + r * columns + column + 16 * v);
  }
}

template <class Dot, size_t kVecs, class Value>
inline void BlockColumn(const std::byte* const* a, size_t rows, size_t groups, const std::byte* b, size_t columns,
                        size_t column, Value* c) {
  size_t r = 0;
  if constexpr (kVecs == 1) {  // so many sums hide the latency of their products
    for (; r + 12 <= rows; r += 12) BlockTile<Dot, 12, kVecs>(a + r, groups, b, columns, column, c + r * columns);
  }
  for (; r + 6 <= rows; r += 6) BlockTile<Dot, 6, kVecs>(a + r, groups, b, columns, column, c + r * columns);
  for (; r + 3 <= rows; r += 3) BlockTile<Dot, 3, kVecs>(a + r, groups, b, columns, column, c + r * columns);
  for (; r < rows; ++r) BlockTile<Dot, 1, kVecs>(a + r, groups, b, columns, column, c + r * columns);
}

template <class Dot, class Value>
inline void Block(const void* rows_of_a, size_t rows, size_t groups, const void* weights, size_t columns, Value* c) {
  const auto* const* a = static_cast<const std::byte* const*>(rows_of_a);
  const auto* b = static_cast<const std::byte*>(weights);
  size_t column = 0;
  for (; column + 64 <= columns; column += 64) BlockColumn<Dot, 4>(a, rows, groups, b, columns, column, c);
  for (; column + 32 <= columns; column += 32) BlockColumn<Dot, 2>(a, rows, groups, b, columns, column, c);
  for (; column < columns; column += 16) BlockColumn<Dot, 1>(a, rows, groups, b, columns, column, c);
}

void Bf16Block(const uint16_t* const* a, size_t rows, size_t groups, const uint16_t* b, size_t columns, float* c) {
  Block<Bf16Dot>(a, rows, groups, b, columns, c);
}

void Int8Block(const uint8_t* const* a, size_t rows, size_t groups, const int8_t* b, size_t columns, int32_t* c) {
  Block<Int8Dot>(a, rows, groups, b, columns, c);
}

}  // namespace

}  // namespace grove
#pragma GCC pop_options

namespace grove {

const RowKernels* Avx512RowKernels() {
  static const RowKernels kernels{"AVX512-BF16 and VNNI",
                                  128,
                                  Bf16Logits,
                                  Bf16LogitsOfThree,
                                  Bf16Outputs,
                                  Int8Dots,
                                  Int8Outputs,
                                  Bf16Block,
                                  Int8Block};
  const bool present = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512dq");
  return present ? &kernels : nullptr;
}

}  // namespace grove
#else
namespace grove {
const RowKernels* Avx512RowKernels() { return nullptr; }
}  // namespace grove
#endif
