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

// The sum of eight bytes: nearly normal, as the weights of trained models are, of mean kMean and deviation kDeviation.
// int8 can tell: where no weight is far from the mean, large ones stand beside each other more often.
constexpr float kMean = 1020.0f, kDeviation = 209.0223f;
float BellShaped(uint64_t bytes) {
  const uint64_t pairs = (bytes & 0x00FF00FF00FF00FFu) + (bytes >> 8 & 0x00FF00FF00FF00FFu);
  return static_cast<float>(pairs * 0x0001000100010001u >> 48) - kMean;
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
  const float scale = static_cast<float>(spread) / kDeviation;
  for (float& value : values.span()) value = scale * BellShaped(Next(state));
  return values;
}

}  // namespace grove::bench
