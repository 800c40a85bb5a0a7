// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Where a model's parameters come from: a file, or a generator for measurements (bench/random_parameters.h).
#pragma once

#include <string>

#include "grove/base/aligned.h"
#include "grove/base/result.h"
#include "grove/io/model_config.h"
#include "grove/io/safetensors.h"

namespace grove {

class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  virtual bool Has(const std::string& name) const = 0;
  // A copy as float. An error that names the parameter if it is missing or of another shape.
  virtual Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const = 0;
};

// Finds the older names of BERT's parameters too. `file` must outlive it.
class FileParameters final : public ParameterSource {
 public:
  FileParameters(const SafetensorsFile& file, const ModelConfig& config) : file_(file), crammed_(config.crammed()) {}

  bool Has(const std::string& name) const override { return file_.Has(StoredName(name)); }
  Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const override {
    return file_.ReadFloats(StoredName(name), shape);
  }

 private:
  std::string StoredName(const std::string& name) const;

  const SafetensorsFile& file_;
  bool crammed_;
};

}  // namespace grove
