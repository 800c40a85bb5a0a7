// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/random_parameters.h"

#include <cmath>
#include <cstdint>

namespace grove::bench {
namespace {

// splitmix64
uint64_t Next(uint64_t& state) {
  uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace

Result<AlignedArray<float>> RandomParameters::Read(const std::string& name, const Shape& shape) const {
  size_t size = 1;
  for (const int64_t extent : shape) size *= static_cast<size_t>(extent);
  AlignedArray<float> values(size);
  const bool vector = shape.size() < 2;
  if (vector && name.ends_with("weight")) {
    for (float& value : values.span()) value = 1.0f;
    return values;
  }
  uint64_t state = 1469598103934665603u;
  for (const char c : name) state = (state ^ static_cast<unsigned char>(c)) * 1099511628211u;
  const double spread = vector ? 0.02 : 1.0 / std::sqrt(static_cast<double>(shape.back()));
  // Uniform on [-1, 1) has deviation 1/sqrt(3).
  const auto scale = static_cast<float>(spread * std::sqrt(3.0) / 2147483648.0);
  for (float& value : values.span()) value = scale * static_cast<float>(static_cast<int32_t>(Next(state) >> 32));
  return values;
}

}  // namespace grove::bench
