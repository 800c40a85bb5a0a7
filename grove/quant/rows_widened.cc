// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The products of bf16 for processors that do not multiply it faster than floats. A vector of pairs is two vectors of
// floats, the even and the odd numbers.
#include <algorithm>

#include "grove/quant/row_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/quant/rows_widened.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/product_tile-inl.h"
#include "grove/quant/rows_portable-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kDepth = 256;       // of the sum at once: weights then stay in the second-level cache as floats
constexpr size_t kMostColumns = 64;  // of a panel

template <size_t kRows, size_t kVectors>
HWY_NOINLINE void RunBlockTile(const float* x, const TileWeights& weights, size_t depth, bool first, float* c,
                               size_t stride) {
  FloatVec sums[kRows][kVectors];
  first ? ZeroTile(sums) : LoadTile(c, stride, sums);
  AddTile(x, kDepth, weights, depth, TileAhead{}, sums);
  StoreTile(sums, c, stride);
}

// Some columns of the block, and the rest of what WidenedBlock() is given.
struct BlockPart {
  const uint16_t* const* a;
  size_t rows, groups;
  const Bf16* b;
  size_t columns;  // of the whole
  float* c;
};

HWY_INLINE void AddRows(const BlockPart& part, size_t begin, size_t pairs, const float* w, size_t width) {
  HWY_ALIGN float x[kTileRows * kDepth];
  const size_t lanes = hn::Lanes(FloatTag());
  for (size_t row = 0; row < part.rows; row += kTileRows) {
    const size_t count = std::min(kTileRows, part.rows - row);
    for (size_t r = 0; r < count; ++r) {
      const uint16_t* from = part.a[row + r] + 2 * begin;
      for (size_t i = 0; i < 2 * pairs; ++i) x[r * kDepth + i] = ToFloat(Bf16{from[i]});
    }
    for (size_t column = 0; column < width; column += TileColumns()) {
      const TileWeights weights{w + column, width, lanes};
      float* to = part.c + row * part.columns + column;
      WithTileRows(count, [&](auto kRows) HWY_ATTR {
        const auto run =
            column + lanes < width ? RunBlockTile<decltype(kRows)::value, 2> : RunBlockTile<decltype(kRows)::value, 1>;
        run(x, weights, 2 * pairs, begin == 0, to, part.columns);
      });
    }
  }
}

void WidenedBlock(const uint16_t* const* a, size_t rows, size_t groups, const uint16_t* b, size_t columns, float* c) {
  HWY_ALIGN float w[kDepth * kMostColumns];
  for (size_t column = 0; column < columns; column += kMostColumns) {
    const size_t width = std::min(kMostColumns, columns - column);
    const BlockPart part{a, rows, groups, reinterpret_cast<const Bf16*>(b) + 2 * column, columns, c + column};
    for (size_t begin = 0; begin < groups; begin += kDepth / 2) {
      const size_t pairs = std::min(kDepth / 2, groups - begin);
      WidenPairs(part.b + 2 * begin * columns, 2 * columns, pairs, width, w);
      AddRows(part, begin, pairs, w, width);
    }
  }
}

#if HWY_TARGET == HWY_SCALAR

inline constexpr auto& WidenedLogits = PortableBf16Logits;
inline constexpr auto& WidenedOutputs = PortableBf16Outputs;

#else

// The dot products of w and kTokens tokens, each of which is summed in the same order for every kTokens.
template <size_t kTokens>
HWY_INLINE void LogitTile(const Bf16* w, float bias, size_t row, const uint16_t* const* x, const void* const* ahead,
                          float* logits) {
  const FloatTag d;
  const size_t step = 2 * hn::Lanes(d);
  FloatVec even[kTokens], odd[kTokens];
  HWY_UNROLL(4)
  for (size_t t = 0; t < kTokens; ++t) even[t] = odd[t] = hn::Zero(d);
  for (size_t i = 0; i < row; i += step) {
    // The first quarter of the rows to come; the processor goes on by itself.
    HWY_UNROLL(4)
    for (size_t t = 0; ahead != nullptr && i % (2 * kRowElements) == 0 && t < kTokens; ++t) {
      __builtin_prefetch(static_cast<const char*>(ahead[t]) + i / 2, 0, 2);
    }
    FloatVec even_weights = EvenBf16(w + i), odd_weights = OddBf16(w + i);
    if (kTokens > 1) KeepInRegister(even_weights), KeepInRegister(odd_weights);
    HWY_UNROLL(4)
    for (size_t t = 0; t < kTokens; ++t) {
      const auto* token = reinterpret_cast<const Bf16*>(x[t]) + i;
      even[t] = hn::MulAdd(even_weights, EvenBf16(token), even[t]);
      odd[t] = hn::MulAdd(odd_weights, OddBf16(token), odd[t]);
    }
  }
  HWY_UNROLL(4)
  for (size_t t = 0; t < kTokens; ++t) {
    logits[t] = hn::GetLane(hn::SumOfLanes(d, hn::Add(even[t], odd[t]))) + bias;
  }
}

void WidenedLogits(const uint16_t* weights, float bias, size_t row, const uint16_t* const* x, const void* const* ahead,
                   size_t count, float* logits) {
  const auto* w = reinterpret_cast<const Bf16*>(weights);
  size_t t = 0;
  for (; t + 4 <= count; t += 4) LogitTile<4>(w, bias, row, x + t, ahead ? ahead + t : nullptr, logits + t);
  for (; t < count; ++t) LogitTile<1>(w, bias, row, x + t, ahead ? ahead + t : nullptr, logits + t);
}

HWY_INLINE FloatVec Start(Into into, const float* y) {
  return into == Into::kSum ? hn::LoadU(FloatTag(), y) : hn::Zero(FloatTag());
}

HWY_INLINE void Finish(Into into, FloatVec sum, float* y) {
  const FloatTag d;
  into == Into::kMemory ? hn::Stream(sum, d, y) : hn::StoreU(sum, d, y);
}

// 2 lanes of columns, which lie interleaved within 128 bits (OutPosition()): lanes from `low` on, and from 16 after it.
template <size_t kTokens>
HWY_INLINE void OutputTile(const uint16_t* const* rows, size_t levels, const uint32_t* const* scales, size_t position,
                           size_t low, Into into, float* const* y) {
  const FloatTag d;
  FloatVec even[kTokens], odd[kTokens];
  HWY_UNROLL(4)
  for (size_t t = 0; t < kTokens; ++t) even[t] = odd[t] = hn::Zero(d);
  for (size_t level = 0; level < levels; ++level) {
    const auto* row = reinterpret_cast<const Bf16*>(rows[level]) + position;
    FloatVec even_weights = EvenBf16(row), odd_weights = OddBf16(row);
    if (kTokens > 1) KeepInRegister(even_weights), KeepInRegister(odd_weights);
    HWY_UNROLL(4)
    for (size_t t = 0; t < kTokens; ++t) {
      const FloatVec scale = hn::Set(d, Bf16Value(scales[t][level / 2] >> (level % 2 * 16) & 0xFFFF));
      even[t] = hn::MulAdd(scale, even_weights, even[t]);
      odd[t] = hn::MulAdd(scale, odd_weights, odd[t]);
    }
  }
  HWY_UNROLL(4)
  for (size_t t = 0; t < kTokens; ++t) {
    float *first = y[t] + low, *second = first + 16;
    Finish(into, hn::Add(Start(into, first), hn::InterleaveLower(d, even[t], odd[t])), first);
    Finish(into, hn::Add(Start(into, second), hn::InterleaveUpper(d, even[t], odd[t])), second);
  }
}

template <size_t kTokens>
HWY_INLINE void OutputRows(const uint16_t* const* rows, size_t levels, const uint32_t* const* scales, Columns columns,
                           Into into, float* const* y) {
  const size_t lanes = hn::Lanes(FloatTag());
  for (size_t c = columns.begin; c < columns.end; c += 32) {
    for (size_t i = 0; i < 16; i += lanes) OutputTile<kTokens>(rows, levels, scales, c + 2 * i, c + i, into, y);
  }
}

void WidenedOutputs(const uint16_t* const* rows, size_t pairs, const uint32_t* const* scales, Columns columns,
                    size_t count, Into into, float* const* y) {
  switch (count) {
    case 1:
      return OutputRows<1>(rows, 2 * pairs, scales, columns, into, y);
    case 2:
      return OutputRows<2>(rows, 2 * pairs, scales, columns, into, y);
    case 3:
      return OutputRows<3>(rows, 2 * pairs, scales, columns, into, y);
    default:
      return OutputRows<4>(rows, 2 * pairs, scales, columns, into, y);
  }
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(WidenedBlock);
HWY_EXPORT(WidenedLogits);
HWY_EXPORT(WidenedOutputs);
}  // namespace

void WidenedBf16Block(const uint16_t* const* a, size_t rows, size_t groups, const uint16_t* b, size_t columns,
                      float* c) {
  HWY_DYNAMIC_DISPATCH(WidenedBlock)(a, rows, groups, b, columns, c);
}

void WidenedBf16Logits(const uint16_t* w, float bias, size_t row, const uint16_t* const* x, const void* const* ahead,
                       size_t count, float* logits) {
  HWY_DYNAMIC_DISPATCH(WidenedLogits)(w, bias, row, x, ahead, count, logits);
}

void WidenedBf16LogitsOfThree(const uint16_t* const* w, const float* biases, size_t row, const uint16_t* const* x,
                              const void* const* ahead, size_t count, float* logits) {
  for (size_t n = 0; n < 3; ++n) {
    WidenedBf16Logits(w[n], biases[n], row, x, ahead, count, logits + n * TreeArithmetic::kMostAtOnce);
  }
}

void WidenedBf16Outputs(const uint16_t* const* rows, size_t pairs, const uint32_t* const* scales, Columns columns,
                        size_t count, Into into, float* const* y) {
  HWY_DYNAMIC_DISPATCH(WidenedOutputs)(rows, pairs, scales, columns, count, into, y);
}

}  // namespace grove
#endif  // HWY_ONCE
