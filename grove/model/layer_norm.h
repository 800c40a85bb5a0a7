// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <string>

#include "grove/base/aligned.h"
#include "grove/base/result.h"
#include "grove/base/thread_pool.h"
#include "grove/io/parameters.h"

namespace grove {

// LayerNorm of a hidden vector, with weight and bias [width].
class LayerNorm {
 public:
  // Reads "<prefix>.weight" and "<prefix>.bias".
  static Result<LayerNorm> Load(const ParameterSource& source, const std::string& prefix, int64_t width, double eps);

  // x [rows, width] -> y [rows, width]; y may be x.
  void Forward(const float* x, size_t rows, float* y, ThreadPool& pool) const;
  // sum += x, y = the norm of sum; all [rows, width]; y may be sum.
  void AddForward(const float* x, size_t rows, float* sum, float* y, ThreadPool& pool) const;
  // The first on the calling thread.
  void ForwardHere(const float* x, size_t rows, float* y) const;

 private:
  AlignedArray<float> weight_, bias_;
  float eps_ = 0;
};

}  // namespace grove
