// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What the low precisions compute element by element, in vectors or in plain loops that the compiler turns into
// vectors: compiled once for every instruction set, and the same bits on each, as nothing is contracted and no sum
// changes its order.

#include <algorithm>
#include <bit>
#include <cmath>

#include "grove/base/bf16.h"
#include "grove/kernels/exact_exp-inl.h"
#include "grove/quant/exact_activation.h"

#if defined(GROVE_QUANT_EXACT_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_QUANT_EXACT_ACTIVATION_INL_H_
#undef GROVE_QUANT_EXACT_ACTIVATION_INL_H_
#else
#define GROVE_QUANT_EXACT_ACTIVATION_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

HWY_INLINE int32_t RoundToInt(float x) { return std::bit_cast<int32_t>(x + kToInteger) - kToIntegerBits; }

template <size_t kVectors>
HWY_INLINE void ActivateVectors(Activation activation, float sign, const float* x, float* out) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec values[kVectors];
  Abreast<kVectors>([&](size_t i) HWY_ATTR { values[i] = hn::Mul(hn::Set(d, sign), hn::LoadU(d, x + i * lanes)); });
  ActivateAbreast<true>(activation, values);
  Abreast<kVectors>([&](size_t i) HWY_ATTR { hn::StoreU(values[i], d, out + i * lanes); });
}

inline void ActivateArray(Activation activation, float sign, const float* x, size_t count, float* out) {
  constexpr size_t kAtOnce = 4;
  const size_t lanes = hn::Lanes(FloatTag());
  size_t i = 0;
  for (; i + kAtOnce * lanes <= count; i += kAtOnce * lanes) ActivateVectors<kAtOnce>(activation, sign, x + i, out + i);
  for (; i + lanes <= count; i += lanes) ActivateVectors<1>(activation, sign, x + i, out + i);
  if (i == count) return;
  HWY_ALIGN float rest[kCacheLineBytes / sizeof(float)] = {};
  std::copy_n(x + i, count - i, rest);
  ActivateVectors<1>(activation, sign, rest, rest);
  std::copy_n(rest, count - i, out + i);
}

// One row of ScaleTile(), all of whose columns are there; `excess` is what its sums have too much.
HWY_INLINE void ScaleTileRow(const SumsTile& tile, const int32_t* sums, const int32_t* excess, const SumScales& scales,
                             float row, float* y) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  constexpr size_t kLanes = hn::MaxLanes(FloatTag()), kAtOnce = std::min<size_t>(4, kTileColumns / kLanes);
  for (size_t first = 0; first < kTileColumns; first += kAtOnce * kLanes) {
    FloatVec values[kAtOnce];
    Abreast<kAtOnce>([&](size_t i) HWY_ATTR {
      const size_t n = first + i * kLanes;
      const FloatVec sum = hn::ConvertTo(d, hn::Sub(hn::LoadU(di, sums + n), hn::Load(di, excess + n)));
      const FloatVec scale = hn::Mul(hn::Set(d, row), hn::LoadU(d, scales.columns + n));
      values[i] = hn::Add(hn::Mul(sum, scale), hn::LoadU(d, scales.bias + n));
    });
    if (tile.activation) ActivateAbreast<true>(*tile.activation, values);
    Abreast<kAtOnce>([&](size_t i) HWY_ATTR { hn::StoreU(values[i], d, y + first + i * kLanes); });
  }
}

inline void ScaleTileRows(const SumsTile& tile, const SumScales& scales) {
  HWY_ALIGN float rest[kTileColumns];
  HWY_ALIGN int32_t excess[kTileColumns];
  for (size_t n = 0; n < kTileColumns; ++n) excess[n] = scales.shift * scales.column_sums[n];
  for (size_t r = 0; r < tile.rows; ++r) {
    const int32_t* sums = tile.sums + r * kTileColumns;
    float* y = tile.y + r * tile.y_stride;
    const bool whole = tile.columns == kTileColumns;
    ScaleTileRow(tile, sums, excess, scales, tile.row_scales[r], whole ? y : rest);
    if (!whole) std::copy_n(rest, tile.columns, y);
  }
}

inline float QuantizeLoop(const float* x, size_t count, int8_t* q) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<int8_t, FloatTag> bytes;
  const float largest = LargestMagnitude(x, count);
  // Below, 127 / largest is infinite: such a row is nothing but noise of denormal numbers.
  const float inverse = largest > 1e-36f ? 127.0f / largest : 0.0f;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const FloatVec shifted = hn::Add(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)), hn::Set(d, kToInteger));
    hn::StoreU(hn::DemoteTo(bytes, hn::Sub(hn::BitCast(di, shifted), hn::Set(di, kToIntegerBits))), bytes, q + i);
  }
  for (; i < count; ++i) q[i] = static_cast<int8_t>(RoundToInt(x[i] * inverse));
  return inverse == 0.0f ? 0.0f : largest / 127.0f;
}

inline void RoundLoop(const float* x, size_t count, uint16_t* rounded) {
  for (size_t i = 0; i < count; ++i) rounded[i] = ToBf16(x[i]).bits;
}

inline void ScaleLoop(const int32_t* sums, const SumScales& scales, size_t count, float* out) {
  const auto [shift, row, column_sums, columns, bias] = scales;
  for (size_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(sums[i] - shift * column_sums[i]) * (row * columns[i]) + bias[i];
  }
}

inline void AddLoop(const float* HWY_RESTRICT x, size_t count, float* HWY_RESTRICT y) {
  for (size_t i = 0; i < count; ++i) y[i] += x[i];
}

// y [columns] += sum(i), a vector from i on.
template <class Sum>
HWY_INLINE void AddToRow(size_t columns, float* y, const Sum& sum) {
  const FloatTag d;
  for (size_t i = 0; i < columns; i += hn::Lanes(d)) hn::StoreU(hn::Add(hn::LoadU(d, y + i), sum(i)), d, y + i);
}

inline void AddGatedLoop(const GatedBlock& block, const float* products, const float* bias) {
  const FloatTag d;
  for (size_t r = 0; r < block.rows; ++r, products += block.columns) {
    const FloatVec gate = hn::Set(d, block.gates[r]);
    AddToRow(block.columns, block.y[r], [&](size_t i) HWY_ATTR {
      return hn::Mul(gate, hn::Add(hn::LoadU(d, products + i), hn::LoadU(d, bias + i)));
    });
  }
}

inline void AddGatedSumsLoop(const GatedBlock& block, const int32_t* sums, const SumScales& scales,
                             const float* row_scales) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  HWY_ALIGN int32_t excess[kGatedColumns];
  for (size_t i = 0; i < block.columns; ++i) excess[i] = scales.shift * scales.column_sums[i];
  for (size_t r = 0; r < block.rows; ++r, sums += block.columns) {
    const FloatVec gate = hn::Set(d, block.gates[r]), row = hn::Set(d, row_scales[r]);
    AddToRow(block.columns, block.y[r], [&](size_t i) HWY_ATTR {
      const FloatVec sum = hn::ConvertTo(d, hn::Sub(hn::LoadU(di, sums + i), hn::LoadU(di, excess + i)));
      const FloatVec value = hn::Mul(sum, hn::Mul(row, hn::LoadU(d, scales.columns + i)));
      return hn::Mul(gate, hn::Add(value, hn::LoadU(d, scales.bias + i)));
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_QUANT_EXACT_ACTIVATION_INL_H_
