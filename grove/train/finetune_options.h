// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Every option of a fine-tuning run. The defaults are the recipe's (DESIGN.md, section 5).
#pragma once

#include <cstdint>
#include <string>

#include "grove/base/result.h"
#include "grove/train/options.h"

namespace grove::train {

struct FinetuneOptions {
  std::string about;  // a configuration file's own words about itself
  std::string model, output;

  // What to learn: a GLUE task with its folder, or files of one's own. `train` and `dev` replace a task's files.
  std::string task, data;
  std::string train, dev;
  std::string kind = "classification";
  std::string text_column, pair_column, label_column;
  int64_t max_examples = 0;

  // The recipe.
  int64_t seeds = 1, seed = 1;
  int64_t epochs = 5, batch = 16, length = 128;
  double learning_rate = 4e-5, warmup = 0.1, beta1 = 0.9, beta2 = 0.98, epsilon = 1e-6, weight_decay = 0, clip = 0;
  double dropout = 0.1;
  std::string pooler = "auto";
  int64_t pooler_width = 1024;
  double balance = 0, hardening = 0;

  // The run.
  std::string device = "auto";
  bool bf16 = true;
  int64_t log_every = 50;
  std::string save_dtype = "fp32";
};

OptionList FinetuneOptionList(FinetuneOptions& options);

// What no single option can see: the model, the output and something to learn are named, and a task that exists.
Status CheckOptions(const FinetuneOptions& options);

}  // namespace grove::train
