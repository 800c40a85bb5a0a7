// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The caller's rows [count, width] as rows that vector code may read or write up to whole cache lines. Where the width
// already is a whole number of lines nothing is copied.
#pragma once

#include <algorithm>
#include <cstddef>

#include "grove/base/aligned.h"
#include "grove/base/scratch.h"

namespace grove {

// rows [count, width] -> zero-padded [count, RoundUpToLine(width)], for weights that are packed at load.
inline AlignedArray<float> PaddedCopy(const float* rows, size_t count, size_t width) {
  const size_t stride = RoundUpToLine<float>(width);
  AlignedArray<float> padded(count * stride);
  for (size_t r = 0; r < count; ++r) std::copy_n(rows + r * width, width, padded.data() + r * stride);
  return padded;
}

class PaddedInput {
 public:
  PaddedInput(const float* rows, size_t count, size_t width) : stride_(RoundUpToLine<float>(width)), rows_(rows) {
    if (stride_ == width) return;
    copy_.resize(count * stride_);
    for (size_t r = 0; r < count; ++r) std::copy_n(rows + r * width, width, copy_.data() + r * stride_);
    rows_ = copy_.data();
  }
  const float* row(size_t r) const { return rows_ + r * stride_; }
  size_t stride() const { return stride_; }

 private:
  size_t stride_;
  const float* rows_;
  ScratchVector<float> copy_;
};

// Results collect in row(); Finish() brings them to the caller's rows. Starts with zeros, or with anything where the
// first result is to be written, not added.
class PaddedOutput {
 public:
  enum class Start { kZero, kAnything };

  PaddedOutput(float* rows, size_t count, size_t width, Start start = Start::kZero)
      : count_(count), width_(width), stride_(RoundUpToLine<float>(width)), target_(rows), rows_(rows) {
    if (stride_ == width) {
      if (start == Start::kZero) std::fill_n(rows, count * width, 0.0f);
    } else {
      copy_.resize(count * stride_);
      rows_ = copy_.data();
    }
  }
  float* row(size_t r) { return rows_ + r * stride_; }
  void Finish() {
    if (stride_ == width_) return;
    for (size_t r = 0; r < count_; ++r) std::copy_n(row(r), width_, target_ + r * width_);
  }

 private:
  size_t count_, width_, stride_;
  float* target_;
  float* rows_;
  ScratchVector<float> copy_;
};

}  // namespace grove
