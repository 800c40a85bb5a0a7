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
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "grove/base/result.h"
#include "grove/train/pretrain_options.h"
#include "grove/train/schedule.h"
#include "grove/train/world.h"

namespace grove::train {

class ProcessGroup;

struct TrainingReport {
  Progress progress;
  double fraction = 0;                    // of the budget
  double loss = 0;                        // masked-LM loss, mean since the last report
  std::optional<double> validation_loss;  // the latest
  double tokens_per_second = 0;           // since the last report
  std::optional<double> utilization;      // the model's FLOPs (TrainingFlopPerToken) over the GPU's peak, where known
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
  PretrainObserver* observer = nullptr;               // may be null; rank 0's is heard
  bool dry_run = false;                               // one step, then PretrainSummary::dry_run; nothing is written

  World world = {};  // of several processes, this one's place
  // Called on another thread when another process is gone and this one may wait for it forever: end the process.
  std::function<void(const std::string& sentence)> on_lost = {};
  ProcessGroup* group = nullptr;  // RunJob (train_loop.h) sets it
};

// What a whole run would take.
struct DryRunReport {
  int64_t parameters = 0;  // of the model
  int64_t steps = 0, tokens = 0;
  double seconds = 0;
  double tokens_per_second = 0, flop_per_token = 0;  // at the full batch; see dry_run.h
  std::optional<double> utilization;                 // their product over the GPU's peak, where that is known
  bool on_gpu = false;
  uint64_t memory_bytes = 0;      // the most that was in use, on the GPU or of the process
  uint64_t checkpoint_bytes = 0;  // of one
  int64_t step_tokens = 0;        // of the full batch
  double step_seconds = 0;
  double measured_share = 1;  // of that step: what takes too long is estimated from a part
  std::string device;
};

struct PretrainSummary {
  bool finished = false;  // false: stopped, to be resumed
  Progress progress;
  std::optional<double> validation_loss = {};
  std::string card = {};  // training.json, once finished
  std::optional<DryRunReport> dry_run = {};
};

Result<PretrainSummary> Pretrain(const PretrainOptions& options, const PretrainContext& context);

}  // namespace grove::train
