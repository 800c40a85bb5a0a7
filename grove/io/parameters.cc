// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/parameters.h"

#include <cmath>
#include <utility>

#include "grove/base/check.h"
#include "grove/io/bert_names.h"

namespace grove {

namespace {

DType StoredType(const SafetensorsFile& file, const std::string& stored) {
  const auto found = file.tensors().find(stored);
  return found == file.tensors().end() ? DType::kF32 : found->second.dtype;
}

Result<Weights> ReadInt8(const SafetensorsFile& file, const std::string& stored, const WeightsLayout& layout) {
  Weights weights;
  weights.precision = Precision::kInt8;
  GROVE_ASSIGN_OR_RETURN(weights.int8, file.ReadInt8(stored, layout.shape));
  GROVE_ASSIGN_OR_RETURN(weights.scales, file.ReadFloats(stored + kScaleSuffix, layout.scales()));
  for (const float scale : weights.scales.span()) {
    if (std::isfinite(scale) && scale >= 0) continue;
    return Error(ErrorCode::kCorrupt, file.path() + ": tensor \"" + stored + kScaleSuffix + "\" has the value " +
                                          std::to_string(scale) + ", which is no scale; write the model again");
  }
  return weights;
}

}  // namespace

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

size_t SummedAxis(const std::string& name) {
  return name.ends_with("linear_out.weight") || name.ends_with("linear_out_left.weight") ? 0 : 1;
}

Result<AlignedArray<float>> ReadWide(const SafetensorsFile& file, const std::string& stored,
                                     const WeightsLayout& layout) {
  // A vector is never int8: where it is, the error says so.
  if (StoredType(file, stored) != DType::kI8 || layout.shape.size() < 2) return file.ReadFloats(stored, layout.shape);
  GROVE_ASSIGN_OR_RETURN(const Weights narrow, ReadInt8(file, stored, layout));
  const WeightsShape shape = layout.view();
  AlignedArray<float> wide(shape.size());
  size_t i = 0;
  for (size_t g = 0; g < shape.groups; ++g) {
    const float* scales = narrow.scales.data() + g * shape.columns;
    for (size_t k = 0; k < shape.depth; ++k) {
      for (size_t c = 0; c < shape.columns; ++c, ++i) wide[i] = static_cast<float>(narrow.int8[i]) * scales[c];
    }
  }
  return wide;
}

Result<Weights> FileParameters::ReadWeights(const std::string& name, const WeightsLayout& layout,
                                            Precision precision) const {
  const std::string stored = StoredName(name);
  const DType dtype = StoredType(file_, stored);
  Weights weights;
  if (dtype == DType::kBf16 && precision == Precision::kBf16) {
    weights.precision = Precision::kBf16;
    GROVE_ASSIGN_OR_RETURN(weights.bf16, file_.ReadBf16(stored, layout.shape));
    return weights;
  }
  if (dtype == DType::kI8 && precision == Precision::kInt8) return ReadInt8(file_, stored, layout);
  if (dtype != DType::kI8) return ParameterSource::ReadWeights(name, layout, precision);
  GROVE_ASSIGN_OR_RETURN(weights.fp32, ReadWide(file_, stored, layout));
  return weights;
}

}  // namespace grove
