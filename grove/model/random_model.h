// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// For tests: a model directory of any config with random weights, and the same model computed plainly in double
// precision, written from the papers and independent of the code it checks.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "grove/io/model_config.h"
#include "grove/io/safetensors.h"

namespace grove::test {

struct RandomTensor {
  Shape shape;
  std::vector<float> values;
};
using RandomTensors = std::map<std::string, RandomTensor>;

// A small masked-LM config; tests change what they are about.
ModelConfig SmallConfig();

// Every tensor that a model of this config has.
RandomTensors MakeRandomTensors(const ModelConfig& config, uint32_t seed);
// Writes config.json and model.safetensors.
void WriteModel(const std::string& folder, const ModelConfig& config, const RandomTensors& tensors);

class PlainModel {
 public:
  using Vector = std::vector<double>;
  using Rows = std::vector<Vector>;  // [tokens][width]

  PlainModel(const ModelConfig& config, const RandomTensors& tensors) : config_(config), tensors_(tensors) {}

  // One sequence. `mask` is 0 for padding.
  Rows Hidden(const std::vector<int32_t>& ids, const std::vector<uint8_t>& mask) const;
  Vector Classify(const Rows& hidden, const std::vector<uint8_t>& mask) const;
  Rows MaskedLmLogits(const Rows& hidden) const;

 private:
  const RandomTensor& Tensor(const std::string& name) const { return tensors_.at(name); }
  Vector Multiply(const std::string& name, const Vector& x) const;  // W x, W [out, in]
  Vector Norm(const std::string& prefix, const Vector& x) const;
  Rows Attention(const std::string& prefix, const Rows& x, const std::vector<uint8_t>& mask) const;
  double Position(size_t token, size_t column) const;

  ModelConfig config_;
  RandomTensors tensors_;
};

}  // namespace grove::test
