// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// y = act(x W^T + b), the dense product of all layers. It is also the dense baseline that tree layers are measured
// against: weights are packed once, bias and activation are applied while the sums are in registers.
//
//   DenseProduct product({.in = 768, .out = 3072, .activation = DenseActivation::kGelu}, weights, nullptr, pool);
//   product.Forward(x, tokens, y, pool);
//
// Own loops in place of a library's because an encoder without padding has another number of rows in every call:
// nothing is prepared for a number of rows, nothing is allocated, and a row has the same result in every batch, on any
// number of threads. oneDNN 2.6 makes a primitive for each number of rows and was no faster: docs/cpu-encoder.md.
//
//     packed weights: panels of 32 columns, each [in, 32]: one step of the sum reads two cache lines
//     a tile of y: 12 rows x 32 columns, held in registers over the whole sum
//     with 16 registers, in fp32: panels of 16 columns, one line a step, tiles of 6 x 16
#pragma once

#include <cstddef>
#include <memory>

#include "grove/base/bf16.h"
#include "grove/base/thread_pool.h"
#include "grove/base/weights.h"

namespace grove {

enum class DenseActivation { kGelu, kNone, kRelu };

struct DenseShape {
  size_t in = 0;
  size_t out = 0;
  DenseActivation activation = DenseActivation::kNone;
  Precision precision = Precision::kFp32;
  // fp32 only: weights and inputs are rounded to 12 significant bits, and every target gives the same bits.
  bool exact = false;
};

class DenseProduct {
 public:
  // `weights` [out, in] as in checkpoints, in the precision of `shape` or fp32, which is rounded; `bias` [out] or null;
  // both copied.
  DenseProduct(const DenseShape& shape, const WeightsView& weights, const float* bias, const ThreadPool& pool);
  // The packed weights of another product, which both own, with a bias [out] or null.
  DenseProduct(const DenseProduct& weights, const float* bias);
  DenseProduct(DenseProduct&&) noexcept;
  DenseProduct& operator=(DenseProduct&&) noexcept;
  ~DenseProduct();

  const DenseShape& shape() const;
  size_t bytes() const;  // of the packed weights and the bias
  // to [in]: the weights of one output as floats, from the packed ones. Slower than from a row: it reads `in` places.
  void CopyWeights(size_t out, float* to) const;

  // x [rows, in] -> y [rows, out], overwritten; x and y must not overlap.
  void Forward(const float* x, size_t rows, float* y, ThreadPool& pool) const;
  // The same with rows that lie `x_stride` and `y_stride` apart. Strides that are multiples of 1024 make the rows of a
  // tile fall on the same few places of the first-level cache: PaddedStride() avoids them.
  void Forward(const float* x, size_t x_stride, size_t rows, float* y, size_t y_stride, ThreadPool& pool) const;

  // Some columns at a time: where what follows takes few of them, these stay in the caches.
  //
  //   const DenseProduct::Inputs inputs = product.Prepare(x, x_stride, rows, pool);
  //   product.ForwardColumns(inputs, {.begin = 192, .count = 192}, y, y_stride, pool);  // y [rows, 192]
  //
  // The same bits as all at once. `begin` is a multiple of kColumnsTogether.
  static constexpr size_t kColumnsTogether = 32;
  struct Columns {
    size_t begin, count;
  };
  // Rows as the precision reads them: x itself, or in memory of the calling thread, which its next call overwrites.
  struct Inputs {
    const void* data;
    size_t stride, element;  // of data: in elements, and the bytes of one
    const float* scales;     // int8 only
    size_t rows;

    size_t row_bytes() const { return stride * element; }
    Inputs Part(size_t row, size_t count) const {
      return {static_cast<const std::byte*>(data) + row * row_bytes(), stride, element,
              scales == nullptr ? nullptr : scales + row, count};
    }
  };
  Inputs Prepare(const float* x, size_t x_stride, size_t rows, ThreadPool& pool) const;
  void ForwardColumns(const Inputs& inputs, Columns columns, float* y, size_t y_stride, ThreadPool& pool) const;

  // Whether the next three may be used: bf16 with AMX or, where it is fast, AVX512-BF16. What one product gives is then
  // rounded at once for the next, to the same bits, and half the bytes go to memory and back. `in` of the next must be
  // even.
  bool TakesNarrowRows() const;
  static size_t NarrowStride(size_t width);
  void ForwardToNarrow(const float* x, size_t x_stride, size_t rows, Bf16* y, size_t y_stride, ThreadPool& pool) const;
  void ForwardFromNarrow(const Bf16* x, size_t x_stride, size_t rows, float* y, size_t y_stride,
                         ThreadPool& pool) const;
  void ForwardColumnsToNarrow(const Inputs& inputs, Columns columns, Bf16* y, size_t y_stride, ThreadPool& pool) const;

 private:
  struct Packed;
  struct State;
  struct Output;
  void Run(const Inputs& inputs, Columns columns, const Output& y, ThreadPool& pool) const;
  std::unique_ptr<State> state_;
};

inline size_t PaddedStride(size_t width) { return width % 1024 == 0 ? width + 16 : width; }

}  // namespace grove
