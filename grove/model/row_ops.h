// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Vector loops over rows of hidden vectors, dispatched to the best instruction set. Single-threaded: callers cut rows
// over the pool.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "grove/kernels/activation.h"

namespace grove {

// y[i] += x[i]
void AddInto(const float* x, size_t count, float* y);
// y[i] *= x[i]
void MultiplyInto(const float* x, size_t count, float* y);

// For each of `rows` rows of `width`: (x - mean) / sqrt(variance + eps) * weight + bias. y may be x. The same on every
// target.
void NormalizeRows(const float* x, size_t rows, size_t width, const float* weight, const float* bias, float eps,
                   float* y);

// sum[i] += x[i], then y = the normalized sum, row by row while it is in the cache. y may be sum.
void AddNormalizeRows(const float* x, size_t rows, size_t width, const float* weight, const float* bias, float eps,
                      float* sum, float* y);

// to[i] = round(x[i] / scale) + 128, with the scale that makes the largest 127 steps. The same on every target.
void RoundToBytes(const float* x, size_t size, float& scale, uint8_t* to);

// x rounded to 12 significant bits, tiny values to 0: products of two such numbers are exact in fp32, so that it is the
// same whether they are fused into a sum or not.
inline float RoundToTwelveBits(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7FFu + ((bits >> 12) & 1u)) & ~0xFFFu;
  return (bits & 0x7FFFFFFFu) < (67u << 23) ? 0.0f : std::bit_cast<float>(rounded);
}

// x[i] = act(x[i])
void ActivateInPlace(Activation activation, size_t size, float* x);

}  // namespace grove
