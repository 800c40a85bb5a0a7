// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Rows of activations as products of low precision take them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/quant/exact_activation.h"
#include "grove/quant/quantization.h"
#include "grove/quant/row_kernels.h"

namespace grove {

// Kept from call to call. A row is RoundUpToRow() elements, zeros beyond its values: bf16, or integers x / scale, +128
// where the active target's products want it so.
class EncodedRows {
 public:
  enum class ScaleInRow { kNo, kYes };  // int8: also in a line behind the values, see ScaleOf()

  // `groups` of 4 bytes a row.
  void Resize(size_t rows, size_t groups, Quantization precision, ScaleInRow scale_in_row = ScaleInRow::kNo) {
    precision_ = precision;
    const size_t element = precision == Quantization::kInt8 ? 1 : 2;
    bytes_ = RoundUpToRow(4 * groups / element) * element;
    scale_in_row_ = scale_in_row == ScaleInRow::kYes && precision == Quantization::kInt8;
    stride_ = bytes_ + (scale_in_row_ ? kCacheLineBytes : 0);
    if (values_.size() < rows * stride_) values_ = AlignedArray<std::byte>(rows * stride_);
    scales_.resize(std::max(scales_.size(), rows));
  }
  const std::byte* row(size_t r) const { return values_.data() + r * stride_; }
  float scale(size_t r) const { return scales_[r]; }
  const float* scales() const { return scales_.data(); }

  // Of a row of so many bytes of whole lines that has it.
  static float ScaleOf(const void* row, size_t bytes) {
    float scale;
    std::memcpy(&scale, static_cast<const std::byte*>(row) + bytes, sizeof(scale));
    return scale;
  }

  void Encode(size_t r, const float* x, size_t count) {
    std::byte* row = values_.data() + r * stride_;
    if (precision_ == Quantization::kBf16) {
      RoundRow(x, count, reinterpret_cast<uint16_t*>(row));
      std::fill(row + 2 * count, row + bytes_, std::byte{0});
      return;
    }
    scales_[r] = QuantizeRow(x, count, reinterpret_cast<int8_t*>(row));
    if (RowKernelsFor().int8_shift != 0) {
      for (size_t i = 0; i < count; ++i) row[i] ^= std::byte{0x80};
    }
    std::fill(row + count, row + bytes_, std::byte{0});
    if (scale_in_row_) std::memcpy(row + bytes_, &scales_[r], sizeof(float));
  }

 private:
  Quantization precision_ = Quantization::kBf16;
  size_t bytes_ = 0, stride_ = 0;
  bool scale_in_row_ = false;
  AlignedArray<std::byte> values_;
  std::vector<float> scales_;
};

}  // namespace grove
