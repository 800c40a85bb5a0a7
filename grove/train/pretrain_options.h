// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Every option of a pretraining run (options.h says what a list of options is for).
#pragma once

#include <cstdint>
#include <string>

#include "grove/base/result.h"
#include "grove/train/model_options.h"
#include "grove/train/options.h"
#include "grove/train/routing_options.h"

namespace grove::train {

struct PretrainOptions : ModelOptions, RoutingOptions {
  std::string about;  // a configuration file's own words about itself
  std::string data, output;
  std::string start_from;  // model directory; its shape replaces the ModelOptions but `length`

  // The recipe (DESIGN.md, section 5).
  double minutes = 0;
  int64_t steps = 0, tokens = 0;
  int64_t batch = 64, micro_batch = 0;
  double batch_ramp = 0;
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.98, epsilon = 1e-12, weight_decay = 0.01, clip = 0.5;
  double mask_share = 0.25;
  double dropout = 0;
  std::string init = "recipe";
  double unit_rate_power = 0;
  bool lazy_units = false;
  int64_t ancestor_steps = 0;
  int64_t seed = 1;

  // The run.
  std::string device = "auto";
  bool bf16 = true;
  int64_t log_every = 20, routing_every = 5, few_tokens = 16;
  bool tensorboard = true;
  int64_t validate_every = 500, validation_sequences = 512;
  int64_t checkpoint_every = 500, keep_checkpoints = 2;
  std::string save_dtype = "fp32";
  bool save_decoder = false;

  int64_t MicroBatch() const { return micro_batch == 0 ? batch : micro_batch; }
};

// Bound to `options`, which outlives the list.
OptionList PretrainOptionList(PretrainOptions& options);
// Those that decide what the run does: with --start-from the shape is the directory's and not that of the options.
OptionList RecordedOptions(PretrainOptions& options);
nlohmann::ordered_json OptionsJson(const PretrainOptions& options);

// What no single option can see: exactly one budget, batch a multiple of micro_batch, the folders named (the output's
// only if the run writes).
Status CheckOptions(const PretrainOptions& options, bool writes = true);

}  // namespace grove::train
