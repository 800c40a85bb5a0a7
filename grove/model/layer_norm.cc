// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/layer_norm.h"

#include <utility>

#include "grove/model/row_ops.h"

namespace grove {

Result<LayerNorm> LayerNorm::Load(const ParameterSource& source, const std::string& prefix, int64_t width, double eps) {
  LayerNorm norm;
  GROVE_ASSIGN_OR_RETURN(norm.weight_, source.Read(prefix + ".weight", {width}));
  GROVE_ASSIGN_OR_RETURN(norm.bias_, source.Read(prefix + ".bias", {width}));
  norm.eps_ = static_cast<float>(eps);
  return norm;
}

void LayerNorm::ForwardHere(const float* x, size_t rows, float* y) const {
  NormalizeRows(x, rows, weight_.size(), weight_.data(), bias_.data(), eps_, y);
}

void LayerNorm::Forward(const float* x, size_t rows, float* y, ThreadPool& pool) const {
  const size_t width = weight_.size();
  pool.ParallelFor(rows, 32,
                   [&](size_t begin, size_t end) { ForwardHere(x + begin * width, end - begin, y + begin * width); });
}

void LayerNorm::AddForward(const float* x, size_t rows, float* sum, float* y, ThreadPool& pool) const {
  const size_t width = weight_.size();
  pool.ParallelFor(rows, 32, [&](size_t begin, size_t end) {
    const size_t at = begin * width;
    AddNormalizeRows(x + at, end - begin, width, weight_.data(), bias_.data(), eps_, sum + at, y + at);
  });
}

}  // namespace grove
