// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/round_weights.h"

#include <algorithm>
#include <vector>

#include "grove/base/check.h"
#include "grove/quant/exact_activation.h"

namespace grove {
namespace {

// Columns of a group that are rounded together: each becomes a row first.
constexpr size_t kColumnBlock = 64;

void RoundGroup(const float* from, const WeightsShape& shape, int8_t* to, float* scales) {
  if (shape.columns == 1) {
    *scales = QuantizeRow(from, shape.depth, to);
    return;
  }
  std::vector<float> rows(kColumnBlock * shape.depth);
  std::vector<int8_t> rounded(shape.depth);
  for (size_t first = 0; first < shape.columns; first += kColumnBlock) {
    const size_t count = std::min(kColumnBlock, shape.columns - first);
    for (size_t k = 0; k < shape.depth; ++k) {
      for (size_t c = 0; c < count; ++c) rows[c * shape.depth + k] = from[k * shape.columns + first + c];
    }
    for (size_t c = 0; c < count; ++c) {
      scales[first + c] = QuantizeRow(rows.data() + c * shape.depth, shape.depth, rounded.data());
      for (size_t k = 0; k < shape.depth; ++k) to[k * shape.columns + first + c] = rounded[k];
    }
  }
}

}  // namespace

Weights RoundWeights(const float* values, const WeightsShape& shape, Precision precision) {
  GROVE_CHECK(precision != Precision::kFp32);
  Weights rounded;
  rounded.precision = precision;
  if (precision == Precision::kBf16) {
    rounded.bf16 = AlignedArray<Bf16>(shape.size());
    static_assert(sizeof(Bf16) == sizeof(uint16_t));
    RoundRow(values, shape.size(), reinterpret_cast<uint16_t*>(rounded.bf16.data()));
    return rounded;
  }
  rounded.int8 = AlignedArray<int8_t>(shape.size());
  rounded.scales = AlignedArray<float>(shape.scales());
  const size_t group = shape.depth * shape.columns;
  for (size_t g = 0; g < shape.groups; ++g) {
    RoundGroup(values + g * group, shape, rounded.int8.data() + g * group, rounded.scales.data() + g * shape.columns);
  }
  return rounded;
}

}  // namespace grove
