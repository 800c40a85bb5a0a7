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
constexpr size_t kPatterns = 4;      // of flipped inputs in a group, see kFlips
constexpr int kRowShift = 128;       // rows are x + 128, with all bits flipped 127 - x
constexpr int kFlippedShift = 127;

// A pattern's byte is all ones where its input is flipped, the first in the lowest byte: none, the second, the fourth,
// both of them.
constexpr std::array<uint32_t, kPatterns> kFlips = {0, 0x0000FF00, 0xFF000000, 0xFF00FF00};
constexpr bool IsFlipped(size_t pattern, size_t input) { return (kFlips[pattern] >> 8 * input & 1) != 0; }

size_t Groups(size_t in) { return (in + kGroup - 1) / kGroup; }

// What 16 columns add in one step.
struct Step {
  uint16_t group, pattern;
};

// Steps in their order: where those end that flip nothing, and those that flip; the rest fits no pattern.
struct Ends {
  uint32_t plain, fitting;
};

// Where the parts of a half are: its ends, its steps, their weights [groups, 16, 4]; each from a cache line on.
struct HalfLayout {
  size_t steps, weights, bytes;
  explicit HalfLayout(size_t groups)
      : steps(kCacheLineBytes),
        weights(steps + RoundUpTo(kCacheLineBytes, groups * sizeof(Step))),
        bytes(weights + groups * kHalfColumns * kGroup) {}
};

struct Half {
  Ends ends;
  const Step* steps;
  const int8_t* weights;

  Half(const int8_t* panel, size_t groups, size_t half) {
    const HalfLayout layout(groups);
    const int8_t* at = panel + half * layout.bytes;
    ends = *reinterpret_cast<const Ends*>(at);
    steps = reinterpret_cast<const Step*>(at + layout.steps);
    weights = at + layout.weights;
  }
};

using GroupWeights = std::array<int8_t, kHalfColumns * kGroup>;

// Zeros beyond the last input and column; weights [columns, in].
GroupWeights ReadGroup(const int8_t* weights, size_t in, size_t columns, size_t group) {
  GroupWeights found{};
  const size_t input = group * kGroup, count = std::min(kGroup, in - input);
  const auto copy = [&](size_t bytes) {
    for (size_t c = 0; c < columns; ++c) std::memcpy(found.data() + c * kGroup, weights + c * in + input, bytes);
  };
  count == kGroup ? copy(kGroup) : copy(count);  // a number that the compiler knows is one instruction
  return found;
}

// The pattern that flips only where it must for both pairs of all columns to fit; kPatterns: none does.
uint16_t PatternOf(const GroupWeights& group) {
  // The largest magnitudes of pairs' sums as they are, and with their second inputs flipped.
  struct Largest {
    int plain, flipped;
  } first{}, second{};
  const auto see = [](int a, int b, Largest& pair) {
    pair.plain = std::max(pair.plain, std::abs(a + b));
    pair.flipped = std::max(pair.flipped, b == -128 ? 256 : std::abs(a - b));  // which has no negative in 8 bits
  };
  for (size_t i = 0; i < group.size(); i += kGroup) {
    see(group[i], group[i + 1], first);
    see(group[i + 2], group[i + 3], second);
  }
  const auto flips = [](const Largest& pair) { return pair.plain > kMostOfPair; };
  const auto fails = [&](const Largest& pair) { return flips(pair) && pair.flipped > kMostOfPair; };
  if (fails(first) || fails(second)) return kPatterns;
  return static_cast<uint16_t>((flips(first) ? 1 : 0) + (flips(second) ? 2 : 0));
}

// Negates what the pattern flips, and adds to `excess` of `count` columns what it adds to products.
void Turn(size_t pattern, size_t count, GroupWeights& group, int32_t* excess) {
  int signs[kGroup], shifts[kGroup];
  for (size_t i = 0; i < kGroup; ++i) {
    signs[i] = IsFlipped(pattern, i) ? -1 : 1;
    shifts[i] = IsFlipped(pattern, i) ? kFlippedShift : kRowShift;
  }
  int8_t* four = group.data();
  for (size_t c = 0; c < count; ++c, four += kGroup) {
    for (size_t i = 0; i < kGroup; ++i) {
      four[i] = static_cast<int8_t>(signs[i] * four[i]);
      excess[c] += shifts[i] * four[i];
    }
  }
}

}  // namespace

size_t Avx2PanelBytes(size_t in) { return 2 * HalfLayout(Groups(in)).bytes; }

void PackAvx2Panel(const int8_t* weights, size_t in, size_t columns, int8_t* panel, int32_t* excess) {
  const size_t groups = Groups(in);
  const HalfLayout layout(groups);
  std::fill(excess, excess + columns, 0);
  for (size_t first = 0; first < kPanelColumns; first += kHalfColumns, panel += layout.bytes) {
    const size_t count = std::min(columns - std::min(columns, first), kHalfColumns);
    const auto read = [&](size_t group) { return ReadGroup(weights + first * in, in, count, group); };
    auto* steps = reinterpret_cast<Step*>(panel + layout.steps);
    for (size_t g = 0; g < groups; ++g) steps[g] = {static_cast<uint16_t>(g), PatternOf(read(g))};
    const auto plain_end = std::stable_partition(steps, steps + groups, [](Step step) { return step.pattern == 0; });
    const auto fitting_end =
        std::stable_partition(plain_end, steps + groups, [](Step step) { return step.pattern < kPatterns; });
    *reinterpret_cast<Ends*>(panel) = {static_cast<uint32_t>(plain_end - steps),
                                       static_cast<uint32_t>(fitting_end - steps)};
    int8_t* to = panel + layout.weights;
    for (const Step* step = steps; step < steps + groups; ++step) {
      GroupWeights found = read(step->group);
      if (step->pattern < kPatterns) Turn(step->pattern, count, found, excess + first);
      to = std::copy(found.begin(), found.end(), to);
    }
  }
}

void CopyAvx2Column(const int8_t* panel, size_t in, size_t column, int8_t* weights) {
  const size_t groups = Groups(in);
  const Half from(panel, groups, column / kHalfColumns);
  for (size_t s = 0; s < groups; ++s) {
    const auto [group, pattern] = from.steps[s];
    const int8_t* four = from.weights + (s * kHalfColumns + column % kHalfColumns) * kGroup;
    const size_t input = group * kGroup;
    for (size_t i = 0; i < std::min(kGroup, in - input); ++i) {
      weights[input + i] = static_cast<int8_t>(pattern < kPatterns && IsFlipped(pattern, i) ? -four[i] : four[i]);
    }
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

// Some steps of a half, as Ends orders them.
struct Steps16 {
  const Step* steps;
  const int8_t* weights;
  size_t plain, fitting, end;
};

template <size_t kRows>
struct HalfSums {
  const uint8_t* rows[kRows];
  __m256i sum[kRows][2];
};

inline __m256i LoadKept(const int8_t* from) {
  __m256i w = Int8Avx2::Load(from);
  asm("" : "+x"(w));  // NOLINT(hicpp-no-assembler): in a register, see KeepInRegister() of kernels/simd-inl.h
  return w;
}

// Unsigned rows: those steps that flip nothing, or those that do.
template <bool kFlip, size_t kRows>
[[gnu::always_inline]] inline void AddFitting(const Steps16& half, HalfSums<kRows>& to) {
  const __m256i ones = _mm256_set1_epi16(1);
  size_t s = kFlip ? half.plain : 0;
  const int8_t* weights = half.weights + s * 2 * Int8Avx2::kBytes;
  for (const size_t end = kFlip ? half.fitting : half.plain; s < end; ++s, weights += 2 * Int8Avx2::kBytes) {
    const __m256i w[2] = {LoadKept(weights), LoadKept(weights + Int8Avx2::kBytes)};
    const __m256i flips = kFlip ? Int8Avx2::Repeat(&kFlips[half.steps[s].pattern]) : _mm256_setzero_si256();
    const size_t input = half.steps[s].group * kGroup;
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const __m256i x = Int8Avx2::Repeat(to.rows[r] + input), value = kFlip ? _mm256_xor_si256(x, flips) : x;
#pragma GCC unroll 2
      for (size_t v = 0; v < 2; ++v) {
        to.sum[r][v] = _mm256_add_epi32(to.sum[r][v], _mm256_madd_epi16(_mm256_maddubs_epi16(value, w[v]), ones));
        asm volatile("" : "+x"(to.sum[r][v]));  // NOLINT(hicpp-no-assembler): in this order, as in Int8BlockTile()
      }
    }
  }
}

// Signed rows, whatever the weights.
template <size_t kRows>
[[gnu::always_inline]] inline void AddOthers(const Steps16& half, HalfSums<kRows>& to) {
  const __m256i flip = _mm256_set1_epi8(-128);
  const int8_t* weights = half.weights + half.fitting * 2 * Int8Avx2::kBytes;
  for (size_t s = half.fitting; s < half.end; ++s, weights += 2 * Int8Avx2::kBytes) {
    const __m256i w[2] = {LoadKept(weights), LoadKept(weights + Int8Avx2::kBytes)};
    const __m256i magnitude[2] = {_mm256_abs_epi8(w[0]), _mm256_abs_epi8(w[1])};
    const size_t input = half.steps[s].group * kGroup;
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const __m256i value = _mm256_xor_si256(Int8Avx2::Repeat(to.rows[r] + input), flip);
#pragma GCC unroll 2
      for (size_t v = 0; v < 2; ++v) {
        to.sum[r][v] = Int8Avx2::Add(to.sum[r][v], w[v], magnitude[v], value);
        asm volatile("" : "+x"(to.sum[r][v]));  // NOLINT(hicpp-no-assembler)
      }
    }
  }
}

// sums[r * kPanelColumns + n] (+)= products of 16 columns.
template <size_t kRows>
[[gnu::noinline]] void HalfTile(const uint8_t* x, size_t x_stride, const Steps16& half, bool add, int32_t* sums) {
  HalfSums<kRows> tile;
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
    tile.rows[r] = x + r * x_stride;
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; ++v) {
      tile.sum[r][v] = add ? Int8Avx2::Load(sums + r * kPanelColumns + 8 * v) : _mm256_setzero_si256();
    }
  }
  AddFitting<false>(half, tile);
  AddFitting<true>(half, tile);
  AddOthers(half, tile);
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; ++v) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * kPanelColumns + 8 * v), tile.sum[r][v]);
    }
  }
}

void HalfRows(const uint8_t* x, size_t x_stride, size_t rows, const Steps16& half, bool add, int32_t* sums) {
  for (; rows >= 4; rows -= 4, x += 4 * x_stride, sums += 4 * kPanelColumns) {
    HalfTile<4>(x, x_stride, half, add, sums);
  }
  if (rows == 3) return HalfTile<3>(x, x_stride, half, add, sums);
  if (rows == 2) return HalfTile<2>(x, x_stride, half, add, sums);
  if (rows == 1) return HalfTile<1>(x, x_stride, half, add, sums);
}

template <size_t kRows>
void Tile(const uint8_t* x, size_t x_stride, const int8_t* panel, size_t groups, const Int8Ahead& ahead,
          int32_t* sums) {
  ahead.Ask();
  if (groups == 0) std::fill(sums, sums + kRows * kPanelColumns, 0);
  for (size_t half = 0; half < 2; ++half) {
    const Half from(panel, groups, half);
    for (size_t begin = 0; begin < groups; begin += kStepsInCache) {
      const size_t end = std::min(begin + kStepsInCache, groups);
      const auto within = [&](size_t step) { return std::clamp(step, begin, end) - begin; };
      const Steps16 some{from.steps + begin, from.weights + begin * kHalfColumns * kGroup, within(from.ends.plain),
                         within(from.ends.fitting), end - begin};
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
