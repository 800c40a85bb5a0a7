// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Vector loops over rows of hidden vectors, dispatched to the best instruction set. Single-threaded: callers cut rows
// over the pool.
#pragma once

#include <cstddef>

namespace grove {

// y[i] += x[i]
void AddInto(const float* x, size_t count, float* y);
// y[i] *= x[i]
void MultiplyInto(const float* x, size_t count, float* y);

// For each of `rows` rows of `width`: (x - mean) / sqrt(variance + eps) * weight + bias. y may be x.
void NormalizeRows(const float* x, size_t rows, size_t width, const float* weight, const float* bias, float eps,
                   float* y);

// In place, for each of `rows` rows: softmax of (x + added). `padded` is a multiple of 16 and the distance of rows;
// only the first `width` values of a row count, the others become 0. `added` [padded] may be null.
void SoftmaxRows(float* x, size_t rows, size_t width, size_t padded, const float* added);

}  // namespace grove
