// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/attention_amx.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "grove/base/aligned.h"
#include "grove/base/check.h"
#include "grove/quant/amx_block.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own header: registers that an intrinsic leaves undefined on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")

namespace grove {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kPad = 32;                              // keys, and columns of values
constexpr size_t kProbabilityStride = kKeyBlock + kPad;  // an odd number of cache lines
constexpr float kLowest = -std::numeric_limits<float>::infinity();

constexpr size_t RoundUp(size_t multiple, size_t n) { return (n + multiple - 1) / multiple * multiple; }

// Two bf16 to a number, the first in its lower half; room for whole vectors.
using Pair = uint32_t;

// Where a thread keeps one head's rows; sizes in pairs or floats.
struct Memory {
  Memory(size_t keys, size_t depth)
      : padded(RoundUp(kPad, keys)), pairs(RoundUp(kLanes, depth) / 2), columns(RoundUp(kPad, depth)) {
    const size_t sizes[] = {
        pairs * padded,       padded / 2 * columns, kAmxRows * pairs, kPad * pairs, kAmxRows * kProbabilityStride / 2,
        kAmxRows * kKeyBlock, kAmxRows * columns};
    size_t total = 0;
    for (const size_t size : sizes) total += size;
    thread_local AlignedArray<Pair> memory;
    Pair* at = AtLeast(memory, total);
    Pair** const parts[] = {&key_columns, &value_pairs, &queries, &key_rows, &probabilities};
    for (size_t i = 0; i < 5; ++i) *parts[i] = at, at += sizes[i];
    scores = reinterpret_cast<float*>(at);
    mixed = scores + sizes[5];
  }

  size_t padded, pairs, columns;
  Pair* key_columns;    // [pairs, padded]
  Pair* value_pairs;    // [padded / 2, columns]: of two keys
  Pair* queries;        // [kAmxRows, pairs]
  Pair* key_rows;       // [kPad, pairs]
  Pair* probabilities;  // [kAmxRows, kProbabilityStride bf16]
  float* scores;        // [kAmxRows, kKeyBlock]
  float* mixed;         // [kAmxRows, columns]
};

__mmask16 Rest(size_t count) { return static_cast<__mmask16>(count >= kLanes ? 0xFFFFu : (1u << count) - 1); }

// x * scale to `padded` bf16, zeros beyond `count`.
void RoundRow(const float* x, float scale, size_t count, size_t padded, Pair* to) {
  auto* out = reinterpret_cast<__m256i*>(to);
  for (size_t i = 0; i < padded; i += kLanes, ++out) {
    const __m512 value = i < count ? _mm512_maskz_loadu_ps(Rest(count - i), x + i) : _mm512_setzero_ps();
    _mm256_storeu_si256(out, (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(value, _mm512_set1_ps(scale))));
  }
}

// Rows of `first` and `second`, or zeros for null, with the values of a column side by side.
void PairRows(const float* first, const float* second, size_t count, size_t columns, Pair* to) {
  const auto half = [&](const float* row, size_t i) {
    const bool any = row != nullptr && i < count;
    const __m512 value = any ? _mm512_maskz_loadu_ps(Rest(count - i), row + i) : _mm512_setzero_ps();
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(value));
  };
  for (size_t i = 0; i < columns; i += kLanes) {
    _mm512_storeu_si512(to + i, _mm512_or_si512(half(first, i), _mm512_slli_epi32(half(second, i), 16)));
  }
}

// Some keys, at most kPad, to columns; zeros beyond the last.
void PackKeys(const float* const* keys, size_t count, size_t depth, const Memory& memory, Pair* to) {
  for (size_t k = 0; k < kPad; ++k) {
    RoundRow(keys[k], 1.0f, k < count ? depth : 0, 2 * memory.pairs, memory.key_rows + k * memory.pairs);
  }
  for (size_t g = 0; g < memory.pairs; ++g, to += memory.padded) {
    for (size_t k = 0; k < kPad; ++k) to[k] = memory.key_rows[k * memory.pairs + g];
  }
}

void PackHead(const HeadOfSequence& head, bool all_keys, const Memory& memory) {
  std::array<const float*, kPad> keys{};
  size_t count = 0;
  const auto pack = [&](size_t first) {
    const size_t present = count - first;
    PackKeys(keys.data(), present, head.depth, memory, memory.key_columns + first);
    for (size_t k = 0; k < kPad; k += 2) {
      const auto value = [&](size_t key) { return key < present ? keys[key] + head.depth : nullptr; };
      PairRows(value(k), value(k + 1), head.depth, memory.columns,
               memory.value_pairs + (first + k) / 2 * memory.columns);
    }
  };
  for (size_t r = 0; r < head.count; ++r) {
    if (!all_keys && head.is_key[r] == 0) continue;
    keys[count % kPad] = head.query + r * head.stride + head.depth;
    if (++count % kPad == 0) pack(count - kPad);
  }
  if (count % kPad != 0) pack(count / kPad * kPad);
}

// c [rows, columns] (+)= a b, 32 columns at a time.
void Multiply(AmxTiles& tiles, AmxBlock block, size_t rows, size_t columns, bool add) {
  const auto* b = static_cast<const std::byte*>(block.b);
  auto* c = static_cast<std::byte*>(block.c);
  for (size_t column = 0; column < columns; column += kAmxColumns) {
    block.b = b + column * sizeof(Pair);
    block.c = c + column * sizeof(float);
    tiles.Multiply(Quantization::kBf16, block, rows, kAmxColumns, add);
  }
}

void ScaleRow(float scale, size_t count, const float* from, float* to) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    _mm512_storeu_ps(to + i, _mm512_mul_ps(_mm512_loadu_ps(from + i), _mm512_set1_ps(scale)));
  }
  for (; i < count; ++i) to[i] = from[i] * scale;
}

// Queries in memory.queries against all `keys`.
void AttendRows(AmxTiles& tiles, const Memory& memory, size_t keys, size_t rows, float* sum) {
  std::array<float, kAmxRows> largest, shrink;
  largest.fill(kLowest);
  std::fill_n(sum, rows, 0.0f);
  for (size_t first = 0; first < keys; first += kKeyBlock) {
    const size_t count = std::min(kKeyBlock, keys - first), padded = std::min(kKeyBlock, memory.padded - first);
    Multiply(tiles,
             {.a = memory.queries,
              .a_stride = memory.pairs * sizeof(Pair),
              .b = memory.key_columns + first,
              .b_stride = memory.padded * sizeof(Pair),
              .c = memory.scores,
              .c_stride = kKeyBlock * sizeof(float),
              .groups = memory.pairs},
             rows, padded, false);
    SoftmaxOfRows({memory.scores, rows, count, padded, largest.data(), sum, shrink.data()});
    for (size_t r = 0; r < rows; ++r) {
      float* mixed = memory.mixed + r * memory.columns;
      if (first > 0) ScaleRow(shrink[r], memory.columns, mixed, mixed);
      RoundRow(memory.scores + r * kKeyBlock, 1.0f, padded, padded, memory.probabilities + r * kProbabilityStride / 2);
    }
    Multiply(tiles,
             {.a = memory.probabilities,
              .a_stride = kProbabilityStride / 2 * sizeof(Pair),
              .b = memory.value_pairs + first / 2 * memory.columns,
              .b_stride = memory.columns * sizeof(Pair),
              .c = memory.mixed,
              .c_stride = memory.columns * sizeof(float),
              .groups = padded / 2},
             rows, memory.columns, first > 0);
  }
}

}  // namespace

void AttendHeadAmx(const HeadOfSequence& head) {
  const size_t marked =
      head.is_key == nullptr ? 0 : head.count - std::count(head.is_key, head.is_key + head.count, uint8_t{0});
  const bool all_keys = marked == 0;
  const size_t keys = all_keys ? head.count : marked;
  const Memory memory(keys, head.depth);
  PackHead(head, all_keys, memory);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head.depth));
  std::array<float, kAmxRows> sum;
  AmxTiles tiles;
  for (size_t row = 0; row < head.count; row += kAmxRows) {
    const size_t rows = std::min(kAmxRows, head.count - row);
    for (size_t r = 0; r < rows; ++r) {
      RoundRow(head.query + (row + r) * head.stride, scale, head.depth, 2 * memory.pairs,
               memory.queries + r * memory.pairs);
    }
    AttendRows(tiles, memory, keys, rows, sum.data());
    for (size_t r = 0; r < rows; ++r) {
      ScaleRow(1.0f / sum[r], head.depth, memory.mixed + r * memory.columns, head.out + (row + r) * head.out_stride);
    }
  }
}

}  // namespace grove
#pragma GCC pop_options

#else

namespace grove {
void AttendHeadAmx(const HeadOfSequence&) { GROVE_CHECK(!"only where ActiveTargetHasTiles()"); }
}  // namespace grove

#endif
