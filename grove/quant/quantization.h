// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// How weights are kept in fewer bits than a float's, and with what activations they are multiplied.
//
//   bf16   both rounded to bfloat16, products summed in floats
//   int8   weights -127 ... 127 with a scale for each row (the products that make one value), activations quantized for
//          each token by its largest value, sums exact in integers; what is not integer is computed with single
//          operations in one order: the same bits on every instruction set
#pragma once

#include <string_view>

namespace grove {

enum class Quantization { kBf16, kInt8 };

constexpr std::string_view QuantizationName(Quantization precision) {
  return precision == Quantization::kBf16 ? "bf16" : "int8";
}

}  // namespace grove
