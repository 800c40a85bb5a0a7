// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Weights to bf16 or int8: what `grove quantize` stores is bit for bit what --precision makes of the original at load.
#pragma once

#include "grove/base/weights.h"
#include "grove/quant/quantization.h"

namespace grove {

// bf16: to nearest, ties to even. int8: to 127 steps of the largest magnitude of a group's column, see QuantizeRow().
Weights RoundWeights(const float* values, const WeightsShape& shape, Precision precision);

inline Precision PrecisionOf(Quantization quantization) {
  return quantization == Quantization::kBf16 ? Precision::kBf16 : Precision::kInt8;
}

// `given` in `precision`: itself, or rounded into `memory` where it is fp32. The precision must be one of the two.
inline WeightsView RoundedView(const WeightsView& given, const WeightsShape& shape, Precision precision,
                               Weights& memory) {
  if (given.precision == precision) return given;
  memory = RoundWeights(given.fp32, shape, precision);
  return memory.view();
}

}  // namespace grove
