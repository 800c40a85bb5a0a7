// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// One run of a fine-tuning: a new head and an order of the rows from one seed, trained to the end and scored after
// every epoch. There is no early stopping: the last epoch's score counts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/train/finetune_options.h"
#include "grove/train/run_log.h"
#include "grove/train/task_model.h"

namespace grove::train {

struct DevelopmentSet {
  TaskData data;
  std::string suffix;  // of its metrics' names
};

// What all runs share.
struct FinetuneParts {
  FinetuneOptions options;
  TaskMetrics metrics;
  TaskData train;
  std::vector<DevelopmentSet> dev;
  ModelDirectory pretrained;
  ModelConfig config;
  Compute compute;
  std::shared_ptr<ThreadPool> pool;
};

struct RunProgress {
  int64_t seed = 0, epoch = 0, step = 0, steps = 0;  // epoch: whole ones that are done
  double loss = 0;                                   // mean since the last report
  const TaskScores* scores = nullptr;                // of the last epoch that is done
};

struct RunResult {
  int64_t seed = 0;
  TaskScores scores;  // after the last epoch
  std::vector<double> epoch_scores;
  double loss = 0;  // mean over the last epoch
  std::shared_ptr<nn::TextModel> model;
};

// Rate at step `step` (from 0) of `steps`: a linear rise over the first `warmup` share, then half a cosine to 0; of the
// peak rate.
double FinetuneRateFactor(int64_t step, int64_t steps, double warmup);

// An error if the loss is no longer finite. LibTorch's own errors (out of memory) are thrown.
Result<RunResult> RunFinetuning(const FinetuneParts& parts, int64_t seed, RunLog& log,
                                const std::function<void(const RunProgress&)>& report);

}  // namespace grove::train
