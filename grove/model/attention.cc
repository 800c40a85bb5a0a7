// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/kernels/target.h"
#include "grove/model/attention_amx.h"
#include "grove/model/row_ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/model/attention.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/exact_exp-inl.h"
#include "grove/kernels/product_tile-inl.h"

#ifndef GROVE_MODEL_ATTENTION_ONCE_
#define GROVE_MODEL_ATTENTION_ONCE_
namespace grove {

constexpr size_t kRowsAhead = 4;  // whose keys and values are asked for while others are packed

// A head's part of a row comes from memory in pieces too short for the processor to see where the next one is.
inline void PrefetchFloats(const float* from, size_t count) {
  for (size_t i = 0; i < count; i += kCacheLineBytes / sizeof(float)) __builtin_prefetch(from + i);
}

constexpr size_t kPad = 32;  // columns of a tile on the widest target

// Keys and values of one head of one sequence as tiles read them.
struct HeadKeys {
  size_t count = 0;               // keys
  size_t padded = 0;              // to whole tiles
  size_t depth = 0;               // head width
  size_t value_stride = 0;        // head width, to whole tiles
  const float* keys = nullptr;    // [depth, padded], zeros beyond the last key
  const float* values = nullptr;  // [count, value_stride]
};

// Queries of that head: rows `stride` apart.
struct HeadQueries {
  const float* query;
  size_t stride, count;
  float* out;
  size_t out_stride;
  bool exact;
};

}  // namespace grove
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// What a tile of queries has gathered so far.
struct TileState {
  HWY_ALIGN float scores[kTileRows * kKeyBlock];
  float largest[kTileRows], sum[kTileRows];
};

// RoundToTwelveBits() of a vector of values that are not negative.
HWY_INLINE FloatVec TwelveBits(FloatVec x) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<12>(bits), hn::Set(du, 1u));
  const auto rounded = hn::AndNot(hn::Set(du, 0xFFFu), hn::Add(hn::Add(bits, hn::Set(du, 0x7FFu)), odd));
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(d, 0x1p-60f)), hn::BitCast(d, rounded));
}

// The sum of a row, in one order for every target: 16 sums, then halves of them.
HWY_INLINE float SumInOneOrder(const float* x, size_t padded) {
  HWY_ALIGN float sums[16];
  const FloatTag d;
  for (size_t lane = 0; lane < 16; lane += hn::Lanes(d)) {
    FloatVec sum = hn::Zero(d);
    for (size_t i = 0; i < padded; i += 16) sum = hn::Add(sum, hn::LoadU(d, x + i + lane));
    hn::Store(sum, d, sums + lane);
  }
  for (size_t half = 8; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

constexpr size_t kAbreast = std::min<size_t>(4, kPad / hn::MaxLanes(FloatTag()));  // vectors

// As SoftmaxBlock(), with the same bits on every target.
HWY_INLINE float ExactSoftmaxBlock(float* x, size_t count, size_t padded, float& largest, float& sum) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  std::fill(x + count, x + padded, -std::numeric_limits<float>::infinity());
  FloatVec top = hn::Set(d, largest);
  for (size_t i = 0; i < padded; i += lanes) top = hn::Max(top, hn::LoadU(d, x + i));
  top = hn::MaxOfLanes(d, top);
  for (size_t i = 0; i < padded; i += kAbreast * lanes) {
    FloatVec powers[kAbreast];
    Abreast<kAbreast>([&](size_t v) HWY_ATTR { powers[v] = hn::Sub(hn::LoadU(d, x + i + v * lanes), top); });
    ExactExp(powers);
    Abreast<kAbreast>([&](size_t v) HWY_ATTR { hn::StoreU(TwelveBits(powers[v]), d, x + i + v * lanes); });
  }
  const float before = largest;
  largest = hn::GetLane(top);
  const float shrink = ExactExpOf(before - largest);
  sum = sum * shrink + SumInOneOrder(x, padded);
  return shrink;
}

// In place, of one row of scores [padded], of which `count` are of keys: exp(scale (x - largest so far)). Returns by
// how much what was gathered before has to shrink.
HWY_INLINE float SoftmaxBlock(float* x, size_t count, size_t padded, float scale, float& largest, float& sum) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  std::fill(x + count, x + padded, -std::numeric_limits<float>::infinity());
  FloatVec top = hn::Set(d, largest);
  for (size_t i = 0; i < padded; i += lanes) top = hn::Max(top, hn::LoadU(d, x + i));
  top = hn::MaxOfLanes(d, top);
  FloatVec total = hn::Zero(d);
  for (size_t i = 0; i < padded; i += kAbreast * lanes) {
    FloatVec powers[kAbreast];
    Abreast<kAbreast>([&](size_t v) HWY_ATTR {
      powers[v] = hn::Mul(hn::Sub(hn::LoadU(d, x + i + v * lanes), top), hn::Set(d, scale));
    });
    ExpOfNegative<true>(powers);
    Abreast<kAbreast>([&](size_t v) HWY_ATTR {
      hn::StoreU(powers[v], d, x + i + v * lanes);
      total = hn::Add(total, powers[v]);
    });
  }
  const float before = largest;
  largest = hn::GetLane(top);
  const float shrink = std::exp((before - largest) * scale);  // 0 in the first block
  sum = sum * shrink + hn::GetLane(hn::SumOfLanes(d, total));
  return shrink;
}

// Scores of the queries x [kRows, depth] with keys [first, first + padded).
template <size_t kRows>
HWY_INLINE void Scores(const HeadKeys& head, const float* x, size_t first, size_t padded, float* scores) {
  for (size_t key = 0; key < padded; key += TileColumns()) {
    FloatVec sums[kRows][kTileVectors];
    ZeroTile(sums);
    AddTile(x, head.depth, {head.keys + first + key, head.padded, TileColumns() / kTileVectors}, head.depth, {}, sums);
    StoreTile(sums, scores + key, kKeyBlock);
  }
}

// out [kRows, value_stride] += scores [kRows, count] x values, after shrinking what is there.
template <size_t kRows>
HWY_INLINE void AddValues(const HeadKeys& head, const TileState& state, const float* shrink, bool first_block,
                          size_t first, size_t count, float* out) {
  const FloatTag d;
  for (size_t column = 0; column < head.value_stride; column += TileColumns()) {
    FloatVec sums[kRows][kTileVectors];
    first_block ? ZeroTile(sums) : LoadTile(out + column, head.value_stride, sums);
    for (size_t r = 0; !first_block && r < kRows; ++r) {
      for (size_t v = 0; v < kTileVectors; ++v) sums[r][v] = hn::Mul(sums[r][v], hn::Set(d, shrink[r]));
    }
    AddTile(state.scores, kKeyBlock,
            {head.values + first * head.value_stride + column, head.value_stride, TileColumns() / kTileVectors}, count,
            {}, sums);
    StoreTile(sums, out + column, head.value_stride);
  }
}

template <size_t kRows>
HWY_NOINLINE void AttendTile(const HeadKeys& head, const HeadQueries& queries, size_t row, float* scaled,
                             float* mixed) {
  TileState state;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head.depth));
  for (size_t r = 0; r < kRows; ++r) {
    const float* query = queries.query + (row + r) * queries.stride;
    for (size_t i = 0; i < head.depth; ++i) scaled[r * head.depth + i] = query[i] * scale;
    if (queries.exact) {
      for (size_t i = 0; i < head.depth; ++i) {
        scaled[r * head.depth + i] = RoundToTwelveBits(scaled[r * head.depth + i]);
      }
    }
    state.largest[r] = -std::numeric_limits<float>::infinity();
    state.sum[r] = 0;
  }
  for (size_t first = 0; first < head.count; first += kKeyBlock) {
    const size_t count = std::min(kKeyBlock, head.count - first), padded = std::min(kKeyBlock, head.padded - first);
    Scores<kRows>(head, scaled, first, padded, state.scores);
    float shrink[kRows];
    for (size_t r = 0; r < kRows; ++r) {
      float* scores = state.scores + r * kKeyBlock;
      shrink[r] = queries.exact ? ExactSoftmaxBlock(scores, count, padded, state.largest[r], state.sum[r])
                                : SoftmaxBlock(scores, count, padded, 1.0f, state.largest[r], state.sum[r]);
    }
    AddValues<kRows>(head, state, shrink, first == 0, first, count, mixed);
  }
  for (size_t r = 0; r < kRows; ++r) {
    const float share = 1.0f / state.sum[r];
    float* out = queries.out + (row + r) * queries.out_stride;
    for (size_t i = 0; i < head.depth; ++i) out[i] = mixed[r * head.value_stride + i] * share;
  }
}

// `scratch` [tile rows of the widest target, depth + value_stride].
void AttendHead(const HeadKeys& head, const HeadQueries& queries, float* scratch) {
  float* mixed = scratch + kTileRows * head.depth;
  for (size_t row = 0; row < queries.count; row += kTileRows) {
    for (size_t next = row + kTileRows; next < std::min(queries.count, row + 2 * kTileRows); ++next) {
      PrefetchFloats(queries.query + next * queries.stride, head.depth);
    }
    WithTileRows(std::min(kTileRows, queries.count - row),
                 [&](auto rows) HWY_ATTR { AttendTile<decltype(rows)::value>(head, queries, row, scratch, mixed); });
  }
}

void SoftmaxOfRowsSimd(const ScoreRows& rows) {
  for (size_t r = 0; r < rows.rows; ++r) {
    rows.shrink[r] =
        SoftmaxBlock(rows.scores + r * kKeyBlock, rows.count, rows.padded, rows.scale, rows.largest[r], rows.sum[r]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grove {
namespace {

HWY_EXPORT(AttendHead);
HWY_EXPORT(SoftmaxOfRowsSimd);

constexpr size_t kWidestTile = 12;  // rows

size_t PadColumns(size_t n) { return (n + kPad - 1) / kPad * kPad; }

// Memory of this thread that survives from call to call.
float* ThreadScratch(size_t size) {
  thread_local AlignedArray<float> scratch;
  return AtLeast(scratch, size);  // NOLINT(clang-analyzer-cplusplus.NewDelete): misreads the move of unique_ptr
}

bool IsKey(const uint8_t* is_key, size_t row) { return is_key == nullptr || is_key[row] != 0; }

// Some keys to columns of `to`, [depth, padded], and zeros up to kPad columns.
void TransposeKeys(const std::array<const float*, kPad>& keys, size_t count, size_t depth, size_t padded, float* to) {
  for (size_t i = 0; i < depth; ++i, to += padded) {
    for (size_t k = 0; k < count; ++k) to[k] = keys[k][i];
    std::fill(to + count, to + kPad, 0.0f);
  }
}

// Keys transposed in blocks of 32 rows, so that both sides are whole cache lines. `qkv` is the head's query in row 0.
HeadKeys PackHead(const AttentionShape& shape, const SequenceRows& rows, const float* qkv, const uint8_t* is_key,
                  float* memory) {
  const size_t depth = shape.head_width, stride = 3 * shape.width();
  size_t count = 0;
  for (size_t r = rows.begin; r < rows.begin + rows.count; ++r) count += IsKey(is_key, r) ? 1 : 0;
  if (count == 0) is_key = nullptr;
  HeadKeys head{.count = count == 0 ? rows.count : count, .depth = depth, .value_stride = PadColumns(depth)};
  head.padded = PadColumns(head.count);
  float* keys = memory;
  float* values = memory + depth * head.padded;
  std::array<const float*, kPad> block{};
  size_t to = 0;
  for (size_t r = rows.begin; r < rows.begin + rows.count; ++r) {
    PrefetchFloats(qkv + std::min(r + kRowsAhead, rows.begin + rows.count - 1) * stride + depth, 2 * depth);
    if (!IsKey(is_key, r)) continue;
    const float* key = qkv + r * stride + depth;
    block[to % kPad] = key;
    float* value = values + to * head.value_stride;
    std::fill(std::copy_n(key + depth, depth, value), value + head.value_stride, 0.0f);
    if (++to % kPad == 0) TransposeKeys(block, kPad, depth, head.padded, keys + to - kPad);
  }
  if (to % kPad != 0) TransposeKeys(block, to % kPad, depth, head.padded, keys + to / kPad * kPad);
  if (shape.exact) {
    const size_t size = depth * head.padded + head.count * head.value_stride;
    for (size_t i = 0; i < size; ++i) memory[i] = RoundToTwelveBits(memory[i]);
  }
  head.keys = keys;
  head.values = values;
  return head;
}

}  // namespace

void SoftmaxOfRows(const ScoreRows& rows) { HWY_DYNAMIC_DISPATCH(SoftmaxOfRowsSimd)(rows); }

void SelfAttention(const AttentionShape& shape, const float* qkv, const uint8_t* is_key, float* out, ThreadPool& pool) {
  const size_t width = shape.width(), depth = shape.head_width, stride = 3 * width;
  const auto run = [&](size_t task) {
    const SequenceRows& rows = shape.sequences[task / shape.heads];
    const size_t head = task % shape.heads;
    if (rows.count == 0) return;
    const size_t value_stride = PadColumns(depth), tile = kWidestTile * (depth + value_stride);
    float* scratch = ThreadScratch(tile + depth * PadColumns(rows.count) + rows.count * value_stride);
    const float* base = qkv + head * 3 * depth;
    const HeadKeys keys = PackHead(shape, rows, base, is_key, scratch + tile);
    const HeadQueries queries{
        base + rows.begin * stride, stride, rows.count, out + rows.begin * width + head * depth, width, shape.exact};
    HWY_DYNAMIC_DISPATCH(AttendHead)(keys, queries, scratch);
  };
  pool.ParallelFor(shape.sequences.size() * shape.heads, 1, [&](size_t begin, size_t end) {
    for (size_t task = begin; task < end; ++task) run(task);
  });
}

bool HasNarrowAttention(size_t head_width) { return head_width % 2 == 0 && ActiveTargetHasTiles(); }

void NarrowSelfAttention(const AttentionShape& shape, const NarrowAttentionRows& rows, const uint8_t* is_key,
                         ThreadPool& pool) {
  const size_t depth = shape.head_width;
  pool.ParallelFor(shape.sequences.size() * shape.heads, 1, [&](size_t begin, size_t end) {
    for (size_t task = begin; task < end; ++task) {
      const SequenceRows& sequence = shape.sequences[task / shape.heads];
      const size_t head = task % shape.heads, first = sequence.begin;
      if (sequence.count == 0) continue;
      AttendHeadAmx({rows.qkv + first * rows.stride + head * 3 * depth, rows.stride, sequence.count, depth,
                     is_key == nullptr ? nullptr : is_key + first, rows.out + first * rows.out_stride + head * depth,
                     rows.out_stride});
    }
  });
}

}  // namespace grove
#endif  // HWY_ONCE
