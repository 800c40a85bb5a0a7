// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/pair_tile.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own header: registers that an intrinsic leaves undefined on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <cstring>

#include "grove/kernels/tile_rows.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni")

namespace grove {
namespace {

// kSteps pairs of the sum. Every loop over rows is unrolled, or GCC 12 keeps the sums in memory.
template <size_t kSteps, size_t kRows>
[[gnu::always_inline]] inline void AddPairs(TileRows<int16_t, kRows>& a, const int16_t* b, size_t stride,
                                            __m512i (&sums)[kRows][2]) {
#pragma GCC unroll 4
  for (size_t s = 0; s < kSteps; ++s, b += 2 * stride) {
    const __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + 32);
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      int pair;
      std::memcpy(&pair, a.row(r) + 2 * s, sizeof(pair));
      const __m512i value = _mm512_set1_epi32(pair);
      sums[r][0] = _mm512_dpwssd_epi32(sums[r][0], value, b0);
      sums[r][1] = _mm512_dpwssd_epi32(sums[r][1], value, b1);
    }
  }
  a.Move(2 * kSteps);
}

template <size_t kRows>
void Tile(const PairOperands& o) {
  __m512i sums[kRows][2];
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = _mm512_setzero_si512();
  TileRows<int16_t, kRows> a(o.a, o.a_stride);
  const int16_t* b = o.b;
  size_t g = 0;
  for (; g + 4 <= o.groups; g += 4, b += 8 * o.b_stride) AddPairs<4>(a, b, o.b_stride, sums);
  for (; g < o.groups; ++g, b += 2 * o.b_stride) AddPairs<1>(a, b, o.b_stride, sums);
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) {
    _mm512_storeu_si512(o.c + r * o.c_stride, sums[r][0]);
    _mm512_storeu_si512(o.c + r * o.c_stride + 16, sums[r][1]);
  }
}

}  // namespace
}  // namespace grove
#pragma GCC pop_options

namespace grove {

const PairTile* VnniPairTiles() {
  static constexpr PairTile kTiles[kMostPairRows + 1] = {nullptr,  Tile<1>,  Tile<2>, Tile<3>, Tile<4>,
                                                         Tile<5>,  Tile<6>,  Tile<7>, Tile<8>, Tile<9>,
                                                         Tile<10>, Tile<11>, Tile<12>};
  static const bool present = __builtin_cpu_supports("avx512vnni") != 0 && __builtin_cpu_supports("avx512bw") != 0;
  return present ? kTiles : nullptr;
}

}  // namespace grove
#else
namespace grove {
const PairTile* VnniPairTiles() { return nullptr; }
}  // namespace grove
#endif
