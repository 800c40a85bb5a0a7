// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/read_weights.h"

#include <algorithm>

#include "grove/quant/round_weights.h"

namespace grove {

Result<Weights> ReadWeights(const ParameterSource& source, const std::string& name, const WeightsLayout& layout,
                            Precision precision) {
  GROVE_ASSIGN_OR_RETURN(Weights weights, source.ReadWeights(name, layout, precision));
  if (weights.precision == precision) return weights;
  return RoundWeights(weights.fp32.data(), layout.view(), precision);
}

void CopyRow(const WeightsView& weights, size_t row, size_t columns, float* to) {
  const size_t begin = row * columns;
  switch (weights.precision) {
    case Precision::kBf16:
      for (size_t i = 0; i < columns; ++i) to[i] = ToFloat(weights.bf16[begin + i]);
      return;
    case Precision::kFp32:
      std::copy_n(weights.fp32 + begin, columns, to);
      return;
    case Precision::kInt8:
      for (size_t i = 0; i < columns; ++i) to[i] = static_cast<float>(weights.int8[begin + i]) * weights.scales[row];
      return;
  }
}

}  // namespace grove
