// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Masked-LM pretraining: packed text in, a model directory out. The output folder holds
//
//   config.json, model.safetensors, tokenizer.json, training.json   the model and its card, at the end
//   log.jsonl                                                       every logged step, validation and the end
//   checkpoints/                                                    what --resume continues from
//
// A run may be killed at any instant and resumed; on a CPU in fp32 with one thread and a budget of steps or tokens the
// result is then bit-identical to an uninterrupted run's.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "grove/base/result.h"
#include "grove/train/pretrain_options.h"
#include "grove/train/schedule.h"

namespace grove::train {

struct TrainingReport {
  Progress progress;
  double fraction = 0;                    // of the budget
  double loss = 0;                        // masked-LM loss, mean since the last report
  std::optional<double> validation_loss;  // the latest
  double tokens_per_second = 0;           // since the last report
  double seconds_left = 0;                // estimated
};

// How a run speaks; the library itself prints nothing. Called on the thread that called Pretrain().
class PretrainObserver {
 public:
  virtual ~PretrainObserver() = default;
  virtual void Notice(const std::string& sentence) = 0;
  virtual void Report(const TrainingReport& report) = 0;  // every `log_every` steps and after each validation
};

struct PretrainContext {
  size_t threads = 1;
  bool resume = false;                                // continue the run in the output folder, if there is one
  bool overwrite = false;                             // delete a run or model that is there
  std::function<bool()> stop = [] { return false; };  // asked after every step: true ends the run with a checkpoint
  PretrainObserver* observer = nullptr;               // may be null
};

struct PretrainSummary {
  bool finished = false;  // false: stopped, to be resumed
  Progress progress;
  std::optional<double> validation_loss;
  std::string card;  // training.json, once finished
};

Result<PretrainSummary> Pretrain(const PretrainOptions& options, const PretrainContext& context);

}  // namespace grove::train
