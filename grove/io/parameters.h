// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Where a model's parameters come from: a file, or a generator for measurements (bench/random_parameters.h).
#pragma once

#include <string>

#include "grove/base/aligned.h"
#include "grove/base/result.h"
#include "grove/base/weights.h"
#include "grove/io/model_config.h"
#include "grove/io/safetensors.h"

namespace grove {

// A tensor of weights whose products are summed over the axis `depth` of its shape. In a file of int8 weights the
// tensor
// "<name>_scale" F32 has one scale for every other place: the same shape without that axis.
struct WeightsLayout {
  Shape shape;
  size_t depth = 1;

  WeightsShape view() const;  // [groups, depth, columns]
  Shape scales() const;
};
inline constexpr const char* kScaleSuffix = "_scale";

// The axis `depth` of a stored matrix by its name: 1, and 0 of a neuron tree's output weights [width, nodes], which
// have a scale for each node.
size_t SummedAxis(const std::string& name);

// Floats as they are, int8 weights times their scales. An error as of ParameterSource, or scales that are no scales.
Result<AlignedArray<float>> ReadWide(const SafetensorsFile& file, const std::string& stored,
                                     const WeightsLayout& layout);

class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  virtual bool Has(const std::string& name) const = 0;
  // A copy as float. An error that names the parameter if it is missing or of another shape.
  virtual Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const = 0;
  // A copy for products that are computed in `precision`: in that precision if it is stored so, else in fp32, for the
  // caller to round (model/read_weights.h does). An error as above, or scales that are no scales.
  virtual Result<Weights> ReadWeights(const std::string& name, const WeightsLayout& layout, Precision precision) const;
};

// Finds the older names of BERT's parameters too. `file` must outlive it.
class FileParameters final : public ParameterSource {
 public:
  FileParameters(const SafetensorsFile& file, const ModelConfig& config) : file_(file), crammed_(config.crammed()) {}

  bool Has(const std::string& name) const override { return file_.Has(StoredName(name)); }
  Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const override {
    return file_.ReadFloats(StoredName(name), shape);
  }
  Result<Weights> ReadWeights(const std::string& name, const WeightsLayout& layout, Precision precision) const override;

  const SafetensorsFile& file() const { return file_; }
  std::string StoredName(const std::string& name) const;  // the tensor's

 private:
  const SafetensorsFile& file_;
  bool crammed_;
};

}  // namespace grove
