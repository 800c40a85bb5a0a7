// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/parameters.h"

#include <cmath>
#include <utility>

#include "grove/base/check.h"
#include "grove/io/bert_names.h"

namespace grove {

WeightsShape WeightsLayout::view() const {
  GROVE_CHECK(depth < shape.size());
  WeightsShape view{.groups = 1, .depth = static_cast<size_t>(shape[depth]), .columns = 1};
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != depth) (i < depth ? view.groups : view.columns) *= static_cast<size_t>(shape[i]);
  }
  return view;
}

Shape WeightsLayout::scales() const {
  Shape scales = shape;
  scales.erase(scales.begin() + static_cast<ptrdiff_t>(depth));
  return scales;
}

Result<Weights> ParameterSource::ReadWeights(const std::string& name, const WeightsLayout& layout, Precision) const {
  Weights weights;
  GROVE_ASSIGN_OR_RETURN(weights.fp32, Read(name, layout.shape));
  return weights;
}

std::string FileParameters::StoredName(const std::string& name) const {
  return crammed_ ? name : StoredBertName(file_, name);
}

Result<Weights> FileParameters::ReadInt8(const std::string& stored, const WeightsLayout& layout) const {
  Weights weights;
  weights.precision = Precision::kInt8;
  GROVE_ASSIGN_OR_RETURN(weights.int8, file_.ReadInt8(stored, layout.shape));
  GROVE_ASSIGN_OR_RETURN(weights.scales, file_.ReadFloats(stored + kScaleSuffix, layout.scales()));
  for (const float scale : weights.scales.span()) {
    if (std::isfinite(scale) && scale >= 0) continue;
    return Error(ErrorCode::kCorrupt, file_.path() + ": tensor \"" + stored + kScaleSuffix + "\" has the value " +
                                          std::to_string(scale) + ", which is no scale; write the model again");
  }
  return weights;
}

Result<Weights> FileParameters::ReadWeights(const std::string& name, const WeightsLayout& layout,
                                            Precision precision) const {
  const std::string stored = StoredName(name);
  const auto found = file_.tensors().find(stored);
  const DType dtype = found == file_.tensors().end() ? DType::kF32 : found->second.dtype;
  Weights weights;
  if (dtype == DType::kBf16 && precision == Precision::kBf16) {
    weights.precision = Precision::kBf16;
    GROVE_ASSIGN_OR_RETURN(weights.bf16, file_.ReadBf16(stored, layout.shape));
    return weights;
  }
  if (dtype != DType::kI8) return ParameterSource::ReadWeights(name, layout, precision);
  GROVE_ASSIGN_OR_RETURN(Weights narrow, ReadInt8(stored, layout));
  if (precision == Precision::kInt8) return narrow;
  const WeightsShape shape = layout.view();
  weights.fp32 = AlignedArray<float>(shape.size());
  size_t i = 0;
  for (size_t g = 0; g < shape.groups; ++g) {
    const float* scales = narrow.scales.data() + g * shape.columns;
    for (size_t k = 0; k < shape.depth; ++k) {
      for (size_t c = 0; c < shape.columns; ++c, ++i) weights.fp32[i] = static_cast<float>(narrow.int8[i]) * scales[c];
    }
  }
  return weights;
}

}  // namespace grove
