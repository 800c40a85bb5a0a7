// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/attention_whole.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "grove/model/pair_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/model/attention_whole.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/exact_exp-inl.h"
#include "grove/kernels/product_tile-inl.h"
#include "grove/model/whole_head-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// sum + the products of two pairs, lane by lane.
HWY_INLINE IntVec AddPairs(IntVec a, IntVec b, IntVec sum) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  const hn::Repartition<int16_t, IntTag> pairs;
  IntVec unused = hn::Zero(IntTag());
  return hn::ReorderWidenMulAccumulate(IntTag(), hn::BitCast(pairs, a), hn::BitCast(pairs, b), sum, unused);
#else
  const auto first = [](IntVec v) HWY_ATTR { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  const auto second = [](IntVec v) HWY_ATTR { return hn::ShiftRight<16>(v); };
  return hn::Add(sum, hn::Add(hn::Mul(first(a), first(b)), hn::Mul(second(a), second(b))));
#endif
}

template <size_t kRows>
void MadeOfPairs(const PairOperands& o) {
  const IntTag d;
  const size_t lanes = hn::Lanes(d);
  IntVec sums[kRows][kTileVectors];
  HWY_UNROLL(12)
  for (size_t r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(d);
  TileRows<int16_t, kRows> a(o.a, o.a_stride);
  const int16_t* b = o.b;
  for (size_t g = 0; g < o.groups; ++g, b += 2 * o.b_stride) {
    const IntVec b0 = LoadPairs(b), b1 = LoadPairs(b + 2 * lanes);
    HWY_UNROLL(12)
    for (size_t r = 0; r < kRows; ++r) {
      int32_t pair;
      std::memcpy(&pair, a.row(r), sizeof(pair));
      sums[r][0] = AddPairs(hn::Set(d, pair), b0, sums[r][0]);
      sums[r][1] = AddPairs(hn::Set(d, pair), b1, sums[r][1]);
    }
    a.Move(2);
  }
  HWY_UNROLL(12)
  for (size_t r = 0; r < kRows; ++r) {
    hn::StoreU(sums[r][0], d, o.c + r * o.c_stride);
    hn::StoreU(sums[r][1], d, o.c + r * o.c_stride + lanes);
  }
}

template <size_t kRows>
PairTile TileOf() {
#if HWY_TARGET == HWY_AVX3
  static const PairTile* const vnni = VnniPairTiles();
  if (vnni != nullptr) return vnni[kRows];
#endif
  return MadeOfPairs<kRows>;
}

// What a tile of queries has gathered so far.
struct WholeTile {
  HWY_ALIGN int32_t dots[kTileRows * kKeyBlock];
  HWY_ALIGN int16_t shares[kTileRows * kKeyBlock];
  HWY_ALIGN float scores[kKeyBlock];  // of one row
  float scale[kTileRows], largest[kTileRows], sum[kTileRows], shrink[kTileRows];
};

// shares[i] = round(kShareSteps 2^z[i]), z <= 0: 2^n 2^f, |f| <= 1/2, and a polynomial within 3e-6 of 2^f. Not fused.
template <size_t kCount>
HWY_INLINE void SharesOf(FloatVec (&z)[kCount], IntVec (&shares)[kCount]) {
  constexpr float kTerms[] = {0.009582853f, 0.055906425f, 0.24024099f, 0.69312419f, 1.0f};
  constexpr float kLeast = -16.0f;  // a quarter of a step
  constexpr int32_t kStepsBits = 14;
  static_assert(kShareSteps == float{1 << kStepsBits});
  const FloatTag d;
  const IntTag di;
  const FloatVec whole = hn::Set(d, kToInteger);
  FloatVec shifted[kCount], p[kCount];
  Abreast<kCount>([&](size_t i) HWY_ATTR {
    const FloatVec x = hn::Max(z[i], hn::Set(d, kLeast));
    shifted[i] = hn::Add(x, whole);
    z[i] = hn::Sub(x, hn::Sub(shifted[i], whole));
    p[i] = hn::Set(d, kTerms[0]);
  });
  for (size_t term = 1; term < std::size(kTerms); ++term) {
    Abreast<kCount>([&](size_t i) HWY_ATTR { p[i] = hn::Add(hn::Mul(p[i], z[i]), hn::Set(d, kTerms[term])); });
  }
  Abreast<kCount>([&](size_t i) HWY_ATTR {
    const IntVec exponent = hn::Sub(hn::BitCast(di, shifted[i]), hn::Set(di, kToIntegerBits - 127 - kStepsBits));
    shares[i] = hn::NearestInt(hn::Mul(p[i], hn::BitCast(d, hn::ShiftLeft<23>(exponent))));
  });
}

// A row's dot products with `count` keys, in floats to tile.scores [padded], -inf beyond; returns the largest and
// `top`.
HWY_INLINE FloatVec ScoresOfRow(const WholeKeys& head, const int32_t* dots, size_t first, size_t count, FloatVec top,
                                float* scores) {
  const FloatTag d;
  const IntTag di;
  const size_t lanes = hn::Lanes(d), padded = PadColumns(count);
  for (size_t i = 0; i < padded; i += lanes) {
    const FloatVec score = hn::Mul(hn::ConvertTo(d, hn::LoadU(di, dots + i)), hn::LoadU(d, head.key_steps + first + i));
    hn::StoreU(score, d, scores + i);
    if (i + lanes <= count) top = hn::Max(top, score);
  }
  std::fill(scores + count, scores + padded, -std::numeric_limits<float>::infinity());
  for (size_t i = count / lanes * lanes; i < padded; i += lanes) top = hn::Max(top, hn::LoadU(d, scores + i));
  return hn::MaxOfLanes(d, top);
}

// One row's dot products with `count` keys to shares of the largest score so far; the sum of the shares so far.
HWY_INLINE void SharesOfRow(const WholeKeys& head, size_t first, size_t count, size_t r, WholeTile& tile) {
  const FloatTag d;
  const IntTag di;
  const hn::Rebind<int16_t, FloatTag> short_tag;
  const size_t lanes = hn::Lanes(d);
  const FloatVec top =
      ScoresOfRow(head, tile.dots + r * kKeyBlock, first, count, hn::Set(d, tile.largest[r]), tile.scores);
  const FloatVec scale = hn::Set(d, tile.scale[r] * kLog2E);
  IntVec total = hn::Zero(di);
  int16_t* shares = tile.shares + r * kKeyBlock;
  const auto run = [&](auto abreast, size_t i) HWY_ATTR {
    constexpr size_t kAbreast = decltype(abreast)::value;
    FloatVec z[kAbreast];
    IntVec of[kAbreast];
    Abreast<kAbreast>([&](size_t v)
                          HWY_ATTR { z[v] = hn::Mul(hn::Sub(hn::LoadU(d, tile.scores + i + v * lanes), top), scale); });
    SharesOf(z, of);
    Abreast<kAbreast>([&](size_t v) HWY_ATTR {
      total = hn::Add(total, of[v]);
      hn::StoreU(hn::DemoteTo(short_tag, of[v]), short_tag, shares + i + v * lanes);
    });
  };
  ForVectors(PadColumns(count), run);
  const float before = tile.largest[r];
  tile.largest[r] = hn::GetLane(top);
  tile.shrink[r] = ExactExpOf((before - tile.largest[r]) * tile.scale[r]);
  tile.sum[r] = tile.sum[r] * tile.shrink[r] + static_cast<float>(hn::GetLane(hn::SumOfLanes(di, total)));
}

// mixed [kRows, value_stride] = what is there, shrunk, + shares x values of keys [first, first + count).
template <size_t kRows>
HWY_INLINE void AddValues(const WholeKeys& head, WholeTile& tile, size_t first, size_t count, float* mixed) {
  const FloatTag d;
  const IntTag di;
  const size_t stride = head.value_stride;
  HWY_ALIGN int32_t sums[kRows * kAttentionPad];
  for (size_t key = 0; key < count; key += kSharesAtOnce) {
    const size_t groups = (std::min(kSharesAtOnce, count - key) + 1) / 2, pair = (first + key) / 2;
    for (size_t column = 0; column < stride; column += TileColumns()) {
      TileOf<kRows>()({tile.shares + key, kKeyBlock, groups, head.values + 2 * (pair * stride + column), stride, sums,
                       kAttentionPad});
      for (size_t r = 0; r < kRows; ++r) {
        const FloatVec shrink = hn::Set(d, key == 0 ? tile.shrink[r] : 1.0f);
        for (size_t v = 0; v < TileColumns(); v += hn::Lanes(d)) {
          float* to = mixed + r * stride + column + v;
          const FloatVec more = hn::ConvertTo(d, hn::LoadU(di, sums + r * kAttentionPad + v));
          hn::StoreU(first + key == 0 ? more : hn::Add(hn::Mul(hn::LoadU(d, to), shrink), more), d, to);
        }
      }
    }
  }
}

template <size_t kRows>
HWY_NOINLINE void AttendTile(const WholeKeys& head, const HeadRows& from, size_t row, WholeScratch& scratch, float* out,
                             size_t out_stride) {
  WholeTile tile;
  const size_t stride = head.value_stride, groups = (head.depth + 1) / 2;
  int16_t* queries = scratch.rounded.data();
  float* mixed = scratch.mixed.data();
  const float root = 1.0f / std::sqrt(static_cast<float>(head.depth));
  for (size_t r = 0; r < kRows; ++r) {
    const float* query = Padded(from.qkv + (from.rows.begin + row + r) * from.stride, head, scratch.padded.data());
    tile.scale[r] = RoundToShorts(query, stride, StepsOfDepth(head.depth), queries + r * stride) * root;
    tile.largest[r] = -std::numeric_limits<float>::infinity();
    tile.sum[r] = 0;
  }
  for (size_t first = 0; first < head.count; first += kKeyBlock) {
    const size_t count = std::min(kKeyBlock, head.count - first);
    for (size_t key = 0; key < count; key += TileColumns()) {
      TileOf<kRows>()(
          {queries, stride, groups, head.keys + 2 * (first + key), head.padded, tile.dots + key, kKeyBlock});
    }
    for (size_t r = 0; r < kRows; ++r) SharesOfRow(head, first, count, r, tile);
    AddValues<kRows>(head, tile, first, count, mixed);
  }
  for (size_t r = 0; r < kRows; ++r) {
    const float share = 1.0f / tile.sum[r];
    float* to = out + (row + r) * out_stride;
    for (size_t i = 0; i < head.depth; ++i) to[i] = mixed[r * stride + i] * head.value_steps[i] * share;
  }
}

void AttendHeadWholeSimd(const HeadRows& from, float* out, size_t out_stride) {
  WholeScratch& scratch = ThreadWholeScratch();
  const WholeKeys head = PackWholeHead(from, scratch);
  const size_t count = from.rows.count, stride = head.value_stride;
  AtLeast(scratch.rounded, std::max(kTileRows, kAttentionPad) * stride);
  AtLeast(scratch.mixed, kTileRows * stride);
  for (size_t row = 0; row < count; row += kTileRows) {
    for (size_t next = row + kTileRows; next < std::min(count, row + 2 * kTileRows); ++next) {
      PrefetchFloats(from.qkv + (from.rows.begin + next) * from.stride, from.depth);
    }
    WithTileRows(std::min(kTileRows, count - row), [&](auto rows) HWY_ATTR {
      AttendTile<decltype(rows)::value>(head, from, row, scratch, out, out_stride);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grove {

HWY_EXPORT(AttendHeadWholeSimd);

WholeScratch& ThreadWholeScratch() {
  thread_local WholeScratch scratch;
  return scratch;
}

void AttendHeadWhole(const HeadRows& from, float* out, size_t out_stride) {
  HWY_DYNAMIC_DISPATCH(AttendHeadWholeSimd)(from, out, out_stride);
}

}  // namespace grove
#endif  // HWY_ONCE
