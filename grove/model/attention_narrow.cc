// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/attention_narrow.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "grove/base/aligned.h"
#include "grove/base/check.h"
#include "grove/kernels/target.h"
#include "grove/kernels/tile_rows.h"
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
constexpr size_t kProbabilityStride = kKeyBlock + kAttentionPad;  // an odd number of cache lines
constexpr float kLowest = -std::numeric_limits<float>::infinity();

constexpr size_t RoundUp(size_t multiple, size_t n) { return (n + multiple - 1) / multiple * multiple; }

// Two bf16 to a number, the first in its lower half.
using Pair = uint32_t;

// Where a thread keeps one head's rows; sizes in pairs or floats.
struct Memory {
  Memory(size_t keys, size_t depth)
      : padded(RoundUp(kAttentionPad, keys)), pairs(depth / 2), columns(RoundUp(kAttentionPad, depth)) {
    const size_t sizes[] = {pairs * padded, padded / 2 * columns, kAmxRows * kProbabilityStride / 2,
                            kAmxRows * kKeyBlock, kAmxRows * columns};
    size_t total = 0;
    for (const size_t size : sizes) total += RoundUp(kLanes, size);
    thread_local AlignedArray<Pair> memory;
    Pair* at = AtLeast(memory, total);
    const auto take = [&](size_t i) { return std::exchange(at, at + RoundUp(kLanes, sizes[i])); };
    key_columns = take(0), value_pairs = take(1), probabilities = take(2);
    scores = reinterpret_cast<float*>(take(3)), mixed = reinterpret_cast<float*>(take(4));
  }

  size_t padded, pairs, columns;
  Pair* key_columns;    // [pairs, padded]
  Pair* value_pairs;    // [padded / 2, columns]: of two keys
  Pair* probabilities;  // [kAmxRows, kProbabilityStride bf16]
  float* scores;        // [kAmxRows, kKeyBlock]
  float* mixed;         // [kAmxRows, columns]
};

__mmask16 Rest(size_t count) { return static_cast<__mmask16>(count >= kLanes ? 0xFFFFu : (1u << count) - 1); }

// x * scale to bf16.
void RoundRow(const float* x, float scale, size_t count, Bf16* to) {
  for (size_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = Rest(count - i);
    const __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(scale));
    _mm256_mask_storeu_epi16(to + i, mask, (__m256i)_mm512_cvtneps_pbh(value));
  }
}

// Rows of `first` and `second`, or zeros for null, with the values of a column side by side.
void PairRows(const Bf16* first, const Bf16* second, size_t count, size_t columns, Pair* to) {
  const auto half = [&](const Bf16* row, size_t i) {
    if (row == nullptr || i >= count) return _mm512_setzero_si512();
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(Rest(count - i), row + i));
  };
  for (size_t i = 0; i < columns; i += kLanes) {
    _mm512_storeu_si512(to + i, _mm512_or_si512(half(first, i), _mm512_slli_epi32(half(second, i), 16)));
  }
}

// to[g * stride + k] = pair g of key k for whole fours of keys and of pairs; returns how many keys that were.
size_t TransposeFours(const Bf16* const* keys, size_t count, size_t pairs, size_t stride, Pair* to) {
  const auto load = [&](size_t k, size_t g) {
    return _mm_castsi128_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(keys[k] + 2 * g)));
  };
  for (size_t k = 0; k + 4 <= count; k += 4) {
    for (size_t g = 0; g + 4 <= pairs; g += 4) {
      __m128 row[] = {load(k, g), load(k + 1, g), load(k + 2, g), load(k + 3, g)};
      _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
      for (size_t i = 0; i < 4; ++i) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + (g + i) * stride + k), _mm_castps_si128(row[i]));
      }
    }
  }
  return count / 4 * 4;
}

// Some keys, at most kAttentionPad, to columns; zeros beyond the last.
void PackKeys(const Bf16* const* keys, size_t count, const Memory& memory, Pair* to) {
  const size_t fours = TransposeFours(keys, count, memory.pairs, memory.padded, to);
  for (size_t g = 0; g < memory.pairs; ++g, to += memory.padded) {
    for (size_t k = g < memory.pairs / 4 * 4 ? fours : 0; k < count; ++k) {
      std::memcpy(to + k, keys[k] + 2 * g, sizeof(Pair));
    }
    std::fill(to + count, to + kAttentionPad, Pair{0});
  }
}

void PackHead(const HeadOfSequence& head, bool all_keys, const Memory& memory) {
  std::array<const Bf16*, kAttentionPad> keys{};
  size_t count = 0;
  const auto pack = [&](size_t first) {
    const size_t present = count - first;
    PackKeys(keys.data(), present, memory, memory.key_columns + first);
    for (size_t k = 0; k < kAttentionPad; k += 2) {
      const auto value = [&](size_t key) { return key < present ? keys[key] + head.depth : nullptr; };
      PairRows(value(k), value(k + 1), head.depth, memory.columns,
               memory.value_pairs + (first + k) / 2 * memory.columns);
    }
  };
  for (size_t r = 0; r < head.count; ++r) {
    if (!all_keys && head.is_key[r] == 0) continue;
    keys[count % kAttentionPad] = head.query + r * head.stride + head.depth;
    if (++count % kAttentionPad == 0) pack(count - kAttentionPad);
  }
  if (count % kAttentionPad != 0) pack(count / kAttentionPad * kAttentionPad);
}

// What AmxTiles does, with AVX512-BF16.
class PairTiles {
 public:
  static void Multiply(Quantization, const AmxBlock& block, size_t rows, size_t, bool add) {
    static constexpr auto kTiles = std::to_array<void (*)(const AmxBlock&, size_t, bool)>(
        {nullptr, Tile<1>, Tile<2>, Tile<3>, Tile<4>, Tile<5>, Tile<6>, Tile<7>, Tile<8>, Tile<9>, Tile<10>, Tile<11>,
         Tile<12>});
    for (size_t r = 0; r < rows; r += kMostRows) kTiles[std::min(kMostRows, rows - r)](block, r, add);
  }

 private:
  static constexpr size_t kMostRows = 12;

  template <size_t kRows>
  static void Tile(const AmxBlock& block, size_t row, bool add) {
    // Every loop over rows is unrolled, or GCC 12 keeps the sums in memory.
    __m512 sums[kRows][2];
    auto* c = reinterpret_cast<float*>(static_cast<std::byte*>(block.c) + row * block.c_stride);
    const size_t c_stride = block.c_stride / sizeof(float);
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      sums[r][0] = add ? _mm512_loadu_ps(c + r * c_stride) : _mm512_setzero_ps();
      sums[r][1] = add ? _mm512_loadu_ps(c + r * c_stride + kLanes) : _mm512_setzero_ps();
    }
    TileRows<std::byte, kRows> a(static_cast<const std::byte*>(block.a) + row * block.a_stride, block.a_stride);
    const auto* b = static_cast<const std::byte*>(block.b);
    for (size_t g = 0; g < block.groups; ++g, b += block.b_stride) {
      const auto b0 = (__m512bh)_mm512_loadu_si512(b), b1 = (__m512bh)_mm512_loadu_si512(b + kCacheLineBytes);
#pragma GCC unroll 12
      for (size_t r = 0; r < kRows; ++r) {
        int pair;
        std::memcpy(&pair, a.row(r), sizeof(pair));
        const auto value = (__m512bh)_mm512_set1_epi32(pair);
        sums[r][0] = _mm512_dpbf16_ps(sums[r][0], value, b0);
        sums[r][1] = _mm512_dpbf16_ps(sums[r][1], value, b1);
      }
      a.Move(sizeof(Pair));
    }
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      _mm512_storeu_ps(c + r * c_stride, sums[r][0]);
      _mm512_storeu_ps(c + r * c_stride + kLanes, sums[r][1]);
    }
  }
};

// c [rows, columns] (+)= a b, 32 columns at a time.
template <class Tiles>
void Multiply(Tiles& tiles, AmxBlock block, size_t rows, size_t columns, bool add) {
  const auto* b = static_cast<const std::byte*>(block.b);
  auto* c = static_cast<std::byte*>(block.c);
  for (size_t column = 0; column < columns; column += kAmxColumns) {
    block.b = b + column * sizeof(Pair);
    block.c = c + column * sizeof(float);
    tiles.Multiply(Quantization::kBf16, block, rows, kAmxColumns, add);
  }
}

// `count` is a multiple of kLanes.
void ScaleRow(float scale, size_t count, float* x) {
  for (size_t i = 0; i < count; i += kLanes) {
    _mm512_storeu_ps(x + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(scale)));
  }
}

// Queries from `row` on against all `keys`.
template <class Tiles>
void AttendRows(Tiles& tiles, const HeadOfSequence& head, const Memory& memory, size_t keys, size_t row) {
  const size_t rows = std::min(kAmxRows, head.count - row);
  std::array<float, kAmxRows> largest, sum{}, shrink;
  largest.fill(kLowest);
  for (size_t first = 0; first < keys; first += kKeyBlock) {
    const size_t count = std::min(kKeyBlock, keys - first), padded = std::min(kKeyBlock, memory.padded - first);
    Multiply(tiles,
             {.a = head.query + row * head.stride,
              .a_stride = head.stride * sizeof(Bf16),
              .b = memory.key_columns + first,
              .b_stride = memory.padded * sizeof(Pair),
              .c = memory.scores,
              .c_stride = kKeyBlock * sizeof(float),
              .groups = memory.pairs},
             rows, padded, false);
    SoftmaxOfRows({memory.scores, rows, count, padded, largest.data(), sum.data(), shrink.data(),
                   1.0f / std::sqrt(static_cast<float>(head.depth))});
    auto* probabilities = reinterpret_cast<Bf16*>(memory.probabilities);
    for (size_t r = 0; r < rows; ++r) {
      if (first > 0) ScaleRow(shrink[r], memory.columns, memory.mixed + r * memory.columns);
      RoundRow(memory.scores + r * kKeyBlock, 1.0f, padded, probabilities + r * kProbabilityStride);
    }
    Multiply(tiles,
             {.a = probabilities,
              .a_stride = kProbabilityStride * sizeof(Bf16),
              .b = memory.value_pairs + first / 2 * memory.columns,
              .b_stride = memory.columns * sizeof(Pair),
              .c = memory.mixed,
              .c_stride = memory.columns * sizeof(float),
              .groups = padded / 2},
             rows, memory.columns, first > 0);
  }
  for (size_t r = 0; r < rows; ++r) {
    RoundRow(memory.mixed + r * memory.columns, 1.0f / sum[r], head.depth, head.out + (row + r) * head.out_stride);
  }
}

}  // namespace

void AttendHeadNarrow(const HeadOfSequence& head) {
  const size_t marked =
      head.is_key == nullptr ? 0 : head.count - std::count(head.is_key, head.is_key + head.count, uint8_t{0});
  const bool all_keys = marked == 0;
  const size_t keys = all_keys ? head.count : marked;
  const Memory memory(keys, head.depth);
  PackHead(head, all_keys, memory);
  const auto attend = [&](auto tiles) {
    for (size_t row = 0; row < head.count; row += kAmxRows) AttendRows(tiles, head, memory, keys, row);
  };
  ActiveTargetHasTiles() ? attend(AmxTiles()) : attend(PairTiles());
}

}  // namespace grove
#pragma GCC pop_options

#else

namespace grove {
void AttendHeadNarrow(const HeadOfSequence&) { GROVE_CHECK(!"only where HasNarrowAttention()"); }
}  // namespace grove

#endif
