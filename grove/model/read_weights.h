// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <string>

#include "grove/base/result.h"
#include "grove/base/weights.h"
#include "grove/io/parameters.h"

namespace grove {

// Weights of products in exactly `precision`: as they are stored, or rounded here (quant/round_weights.h). Every matrix
// that the model can multiply in a low precision is read through this, so that `grove quantize` knows it.
Result<Weights> ReadWeights(const ParameterSource& source, const std::string& name, const WeightsLayout& layout,
                            Precision precision);

// What is kept as `weights` are: a row of a [rows, columns] table as floats.
void CopyRow(const WeightsView& weights, size_t row, size_t columns, float* to);

}  // namespace grove
