// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The encoder that a training verb builds: its shape and its kind of feedforward layer.
#pragma once

#include <cstdint>
#include <string>

#include "grove/base/result.h"
#include "grove/io/model_config.h"
#include "grove/train/options.h"

namespace grove::train {

struct ModelOptions {
  int64_t layers = 4, width = 256, heads = 4, length = 128;
  std::string positions = "scaled-sinusoidal";
  std::string feed_forward = "leaf_tree";
  std::string nonlinearity = "gelu";
  int64_t intermediate = 1024;
  int64_t trees = 1, depth = 4;
  bool two_sided = false;
  int64_t leaf_width = 32, paths = 2;
  double decision_scale = 1;
  double init_std = 0.02;
  bool decoder_bias = false;
};

// Appends the options of `model` to `list`.
void AddModelOptions(ModelOptions& model, OptionList& list);

// The model these options describe; validated as a config.json would be.
Result<ModelConfig> ModelConfigOf(const ModelOptions& options, double dropout, int64_t vocabulary, int64_t pad_id);

}  // namespace grove::train
