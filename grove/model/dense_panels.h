// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Inside of dense_product.cc: a task of it, and its forms that Highway has no instructions for.
#pragma once

#include <cstddef>

#include "grove/base/aligned.h"
#include "grove/base/bf16.h"
#include "grove/model/dense_product.h"

namespace grove {

inline constexpr size_t kPanelColumns = 32;

// Some rows and panels of a product, on the calling thread.
struct DensePanels {
  const float* x;       // [rows, in]
  const void* weights;  // of the first panel
  const float* bias;    // [columns rounded up to 32]
  float* y;             // the first panel's first column in the first row
  size_t x_stride, y_stride;
  size_t rows, in;
  size_t columns;  // from y on; only the last panel has less than 32
  DenseActivation activation;
};

inline size_t RoundUpToEven(size_t n) { return (n + 1) / 2 * 2; }

// With AVX512-BF16: x rounded to bf16, products of pairs added in fp32.
bool HasBf16Panels();
AlignedArray<Bf16> PackBf16Panels(const float* weights, size_t in, size_t out);
void RunBf16Panels(const DensePanels& task);

}  // namespace grove
