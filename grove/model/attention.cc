// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "grove/base/aligned.h"
#include "grove/kernels/target.h"
#include "grove/model/attention_head.h"
#include "grove/model/attention_narrow.h"
#include "grove/model/attention_whole.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/model/attention.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/product_tile-inl.h"
#include "grove/model/attention_keys-inl.h"
#include "grove/model/softmax_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// What a tile of queries has gathered so far.
struct TileState {
  HWY_ALIGN float scores[kTileRows * kKeyBlock];
  float largest[kTileRows], sum[kTileRows];
};

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
    state.largest[r] = -std::numeric_limits<float>::infinity();
    state.sum[r] = 0;
  }
  for (size_t first = 0; first < head.count; first += kKeyBlock) {
    const size_t count = std::min(kKeyBlock, head.count - first), padded = std::min(kKeyBlock, head.padded - first);
    Scores<kRows>(head, scaled, first, padded, state.scores);
    float shrink[kRows];
    for (size_t r = 0; r < kRows; ++r) {
      shrink[r] = SoftmaxBlock(state.scores + r * kKeyBlock, count, padded, 1.0f, state.largest[r], state.sum[r]);
    }
    AddValues<kRows>(head, state, shrink, first == 0, first, count, mixed);
  }
  for (size_t r = 0; r < kRows; ++r) {
    const float share = 1.0f / state.sum[r];
    float* out = queries.out + (row + r) * queries.out_stride;
    for (size_t i = 0; i < head.depth; ++i) out[i] = mixed[r * head.value_stride + i] * share;
  }
}

// `scratch` [tile rows, depth + value_stride], and what PackHead() needs.
void AttendHead(const HeadRows& from, float* out, size_t out_stride, float* scratch) {
  const size_t depth = from.depth, count = from.rows.count;
  float* mixed = scratch + kTileRows * depth;
  const HeadKeys head = PackHead(from, mixed + kTileRows * PadColumns(depth));
  const HeadQueries queries{from.qkv + from.rows.begin * from.stride, from.stride, count, out, out_stride};
  for (size_t row = 0; row < count; row += kTileRows) {
    for (size_t next = row + kTileRows; next < std::min(count, row + 2 * kTileRows); ++next) {
      PrefetchFloats(queries.query + next * queries.stride, depth);
    }
    WithTileRows(std::min(kTileRows, count - row),
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

// Memory of this thread that survives from call to call.
float* ThreadScratch(size_t size) {
  thread_local AlignedArray<float> scratch;
  return AtLeast(scratch, size);  // NOLINT(clang-analyzer-cplusplus.NewDelete): misreads the move of unique_ptr
}

}  // namespace

void SoftmaxOfRows(const ScoreRows& rows) { HWY_DYNAMIC_DISPATCH(SoftmaxOfRowsSimd)(rows); }

void SelfAttention(const AttentionShape& shape, const float* qkv, const uint8_t* is_key, float* out, ThreadPool& pool) {
  SelfAttention(shape, qkv, is_key, out, shape.width(), pool);
}

void SelfAttention(const AttentionShape& shape, const float* qkv, const uint8_t* is_key, float* out, size_t out_stride,
                   ThreadPool& pool) {
  const size_t width = shape.width(), depth = shape.head_width, stride = 3 * width;
  const auto run = [&](size_t task) {
    const SequenceRows& rows = shape.sequences[task / shape.heads];
    const size_t head = task % shape.heads;
    if (rows.count == 0) return;
    const HeadRows from{qkv + head * 3 * depth, stride, depth, rows, is_key};
    float* to = out + rows.begin * out_stride + head * depth;
    if (shape.exact) return AttendHeadWhole(from, to, out_stride);
    const size_t value_stride = PadColumns(depth), tile = kWidestTile * (depth + value_stride);
    float* scratch = ThreadScratch(tile + depth * PadColumns(rows.count) + rows.count * value_stride);
    HWY_DYNAMIC_DISPATCH(AttendHead)(from, to, out_stride, scratch);
  };
  pool.ParallelFor(shape.sequences.size() * shape.heads, 1, [&](size_t begin, size_t end) {
    for (size_t task = begin; task < end; ++task) run(task);
  });
}

bool HasNarrowAttention(size_t head_width) {
  return head_width % 2 == 0 && (ActiveTargetHasTiles() || ActiveTargetMultipliesBf16());
}

void NarrowSelfAttention(const AttentionShape& shape, const NarrowAttentionRows& rows, const uint8_t* is_key,
                         ThreadPool& pool) {
  const size_t depth = shape.head_width;
  pool.ParallelFor(shape.sequences.size() * shape.heads, 1, [&](size_t begin, size_t end) {
    for (size_t task = begin; task < end; ++task) {
      const SequenceRows& sequence = shape.sequences[task / shape.heads];
      const size_t head = task % shape.heads, first = sequence.begin;
      if (sequence.count == 0) continue;
      AttendHeadNarrow({rows.qkv + first * rows.stride + head * 3 * depth, rows.stride, sequence.count, depth,
                        is_key == nullptr ? nullptr : is_key + first, rows.out + first * rows.out_stride + head * depth,
                        rows.out_stride});
    }
  });
}

}  // namespace grove
#endif  // HWY_ONCE
