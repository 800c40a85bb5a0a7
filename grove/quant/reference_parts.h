// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What the oracles of the low precisions share: roundings and dot products, in double where they are not integers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "grove/base/bf16.h"
#include "grove/quant/quantization.h"

namespace grove::quant_reference {

struct Quantized {
  double scale = 0;
  std::vector<int> values;
};

inline Quantized Quantize(const std::vector<double>& x) {
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  Quantized q{largest / 127, {}};
  for (const double v : x) q.values.push_back(largest == 0 ? 0 : static_cast<int>(std::nearbyint(v * 127 / largest)));
  return q;
}

inline double Rounded(double x) { return ToFloat(ToBf16(static_cast<float>(x))); }

inline double Bf16Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += Rounded(a[i]) * Rounded(b[i]);
  return sum;
}

inline double Int8Dot(const std::vector<double>& a, const std::vector<double>& b) {
  const Quantized qa = Quantize(a), qb = Quantize(b);
  int64_t sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += qa.values[i] * qb.values[i];
  return static_cast<double>(sum) * qa.scale * qb.scale;
}

inline double Dot(Quantization precision, const std::vector<double>& a, const std::vector<double>& b) {
  return precision == Quantization::kInt8 ? Int8Dot(a, b) : Bf16Dot(a, b);
}

// Column `column` of matrix [rows, columns].
inline std::vector<double> Column(const float* matrix, size_t columns, size_t column, size_t rows) {
  std::vector<double> values(rows);
  for (size_t r = 0; r < rows; ++r) values[r] = matrix[r * columns + column];
  return values;
}

}  // namespace grove::quant_reference
