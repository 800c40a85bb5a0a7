// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/int8_panels_avx2.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "grove/base/aligned.h"

namespace grove {
namespace {

constexpr size_t kGroup = 4;         // inputs of one step
constexpr size_t kHalfColumns = 16;  // of a panel
constexpr int kMostOfPair = 128;     // 255 times that fits 16 bits

size_t Groups(size_t in) { return (in + kGroup - 1) / kGroup; }

// Where the parts of a half are: how many groups come first, which inputs the groups are of, their weights [groups, 16,
// 4]; each from a cache line on.
struct HalfLayout {
  size_t order, weights, bytes;
  explicit HalfLayout(size_t groups)
      : order(kCacheLineBytes),
        weights(order + RoundUpTo(kCacheLineBytes, groups * sizeof(uint16_t))),
        bytes(weights + groups * kHalfColumns * kGroup) {}
};

struct Half {
  size_t fitting;
  const uint16_t* order;
  const int8_t* weights;

  Half(const int8_t* panel, size_t groups, size_t half) {
    const HalfLayout layout(groups);
    const int8_t* at = panel + half * layout.bytes;
    fitting = *reinterpret_cast<const uint32_t*>(at);
    order = reinterpret_cast<const uint16_t*>(at + layout.order);
    weights = at + layout.weights;
  }
};

using GroupWeights = std::array<int8_t, kHalfColumns * kGroup>;

// Zeros beyond the last input and column; weights [columns, in].
GroupWeights ReadGroup(const int8_t* weights, size_t in, size_t columns, size_t group) {
  GroupWeights found{};
  const size_t input = group * kGroup, count = std::min(kGroup, in - input);
  for (size_t c = 0; c < columns; ++c) std::memcpy(found.data() + c * kGroup, weights + c * in + input, count);
  return found;
}

bool Fits(const GroupWeights& group) {
  for (size_t i = 0; i < group.size(); i += 2) {
    if (std::abs(group[i] + group[i + 1]) > kMostOfPair) return false;
  }
  return true;
}

}  // namespace

size_t Avx2PanelBytes(size_t in) { return 2 * HalfLayout(Groups(in)).bytes; }

void PackAvx2Panel(const int8_t* weights, size_t in, size_t columns, int8_t* panel, int32_t* sums) {
  const size_t groups = Groups(in);
  const HalfLayout layout(groups);
  std::fill(sums, sums + columns, 0);
  for (size_t first = 0; first < kPanelColumns; first += kHalfColumns, panel += layout.bytes) {
    const size_t count = std::min(columns - std::min(columns, first), kHalfColumns);
    auto* order = reinterpret_cast<uint16_t*>(panel + layout.order);
    int8_t* to = panel + layout.weights;
    size_t next = 0;
    for (const bool fitting : {true, false}) {
      for (size_t group = 0; group < groups; ++group) {
        const GroupWeights found = ReadGroup(weights + first * in, in, count, group);
        if (Fits(found) != fitting) continue;
        order[next] = static_cast<uint16_t>(group);
        std::copy(found.begin(), found.end(), to + next++ * found.size());
        for (size_t i = 0; fitting && i < count * kGroup; ++i) sums[first + i / kGroup] += found[i];
      }
      if (fitting) *reinterpret_cast<uint32_t*>(panel) = static_cast<uint32_t>(next);
    }
  }
}

void CopyAvx2Column(const int8_t* panel, size_t in, size_t column, int8_t* weights) {
  const size_t groups = Groups(in);
  const Half from(panel, groups, column / kHalfColumns);
  for (size_t g = 0; g < groups; ++g) {
    const size_t input = from.order[g] * kGroup;
    std::memcpy(weights + input, from.weights + (g * kHalfColumns + column % kHalfColumns) * kGroup,
                std::min(kGroup, in - input));
  }
}

}  // namespace grove

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx2")
#include "grove/quant/int8_avx2-inl.h"

namespace grove {
namespace {

constexpr size_t kStepsInCache = 256;  // of a half that stay in the first-level cache for all rows of a tile: 16 KiB

// Some groups of a half: those before `fitting`, then those before `end`.
struct Groups16 {
  const uint16_t* order;
  const int8_t* weights;
  size_t fitting, end;
};

// sums[r * kPanelColumns + n] (+)= products of 16 columns.
template <size_t kRows>
[[gnu::noinline]] void HalfTile(const uint8_t* x, size_t x_stride, const Groups16& half, bool add, int32_t* sums) {
  const uint8_t* rows[kRows];
  __m256i sum[kRows][2];
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
    rows[r] = x + r * x_stride;
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; ++v) {
      sum[r][v] = add ? Int8Avx2::Load(sums + r * kPanelColumns + 8 * v) : _mm256_setzero_si256();
    }
  }
  const int8_t* weights = half.weights;
  const __m256i ones = _mm256_set1_epi16(1), flip = _mm256_set1_epi8(-128);
  const auto load = [&](size_t v) {
    __m256i w = Int8Avx2::Load(weights + v * Int8Avx2::kBytes);
    asm("" : "+x"(w));  // NOLINT(hicpp-no-assembler): in a register, see KeepInRegister() of kernels/simd-inl.h
    return w;
  };
  size_t g = 0;
  for (; g < half.fitting; ++g, weights += 2 * Int8Avx2::kBytes) {
    const __m256i w[2] = {load(0), load(1)};
    const size_t input = half.order[g] * kGroup;
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const __m256i value = Int8Avx2::Repeat(rows[r] + input);
#pragma GCC unroll 2
      for (size_t v = 0; v < 2; ++v) {
        sum[r][v] = _mm256_add_epi32(sum[r][v], _mm256_madd_epi16(_mm256_maddubs_epi16(value, w[v]), ones));
        asm volatile("" : "+x"(sum[r][v]));  // NOLINT(hicpp-no-assembler): in this order, as in Int8BlockTile()
      }
    }
  }
  for (; g < half.end; ++g, weights += 2 * Int8Avx2::kBytes) {
    const __m256i w[2] = {load(0), load(1)};
    const __m256i magnitude[2] = {_mm256_abs_epi8(w[0]), _mm256_abs_epi8(w[1])};
    const size_t input = half.order[g] * kGroup;
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const __m256i value = _mm256_xor_si256(Int8Avx2::Repeat(rows[r] + input), flip);
#pragma GCC unroll 2
      for (size_t v = 0; v < 2; ++v) {
        sum[r][v] = Int8Avx2::Add(sum[r][v], w[v], magnitude[v], value);
        asm volatile("" : "+x"(sum[r][v]));  // NOLINT(hicpp-no-assembler)
      }
    }
  }
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; ++v) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * kPanelColumns + 8 * v), sum[r][v]);
    }
  }
}

void HalfRows(const uint8_t* x, size_t x_stride, size_t rows, const Groups16& half, bool add, int32_t* sums) {
  for (; rows >= 4; rows -= 4, x += 4 * x_stride, sums += 4 * kPanelColumns) {
    HalfTile<4>(x, x_stride, half, add, sums);
  }
  if (rows == 3) return HalfTile<3>(x, x_stride, half, add, sums);
  if (rows == 2) return HalfTile<2>(x, x_stride, half, add, sums);
  if (rows == 1) return HalfTile<1>(x, x_stride, half, add, sums);
}

template <size_t kRows>
void Tile(const uint8_t* x, size_t x_stride, const int8_t* panel, size_t groups, int32_t* sums) {
  if (groups == 0) std::fill(sums, sums + kRows * kPanelColumns, 0);
  for (size_t half = 0; half < 2; ++half) {
    const Half from(panel, groups, half);
    for (size_t begin = 0; begin < groups; begin += kStepsInCache) {
      const size_t end = std::min(begin + kStepsInCache, groups), fitting = std::clamp(from.fitting, begin, end);
      const Groups16 some{from.order + begin, from.weights + begin * kHalfColumns * kGroup, fitting - begin,
                          end - begin};
      HalfRows(x, x_stride, kRows, some, begin != 0, sums + half * kHalfColumns);
    }
  }
}

constexpr Int8Tile kTiles[kMaxTileRows + 1] = {nullptr, Tile<1>, Tile<2>, Tile<3>,  Tile<4>,  Tile<5>, Tile<6>,
                                               Tile<7>, Tile<8>, Tile<9>, Tile<10>, Tile<11>, Tile<12>};

}  // namespace
#pragma GCC pop_options

const Int8Tile* Avx2Tiles(size_t in) { return Groups(in) <= std::numeric_limits<uint16_t>::max() ? kTiles : nullptr; }

}  // namespace grove
#else
namespace grove {
const Int8Tile* Avx2Tiles(size_t) { return nullptr; }
}  // namespace grove
#endif
