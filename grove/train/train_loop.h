// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The training loop of pretraining (pretrain.h) with another objective behind it: same batches, optimizer, schedule,
// log, checkpoints and resuming.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "grove/train/compute.h"
#include "grove/train/objective.h"
#include "grove/train/pretrain.h"
#include "grove/train/training_data.h"

namespace grove::train {

struct TrainingTask {
  ModelConfig config;                                // of the model that the run leaves
  std::function<std::shared_ptr<Objective>()> make;  // the same one at each call, on the CPU; a replica each
  // Fills the weights of a run that starts at step 0; empty: as made.
  std::function<Status(nn::TextModel&)> initialize = {};
  OptionList options;  // everything that was asked for: log, checkpoints, card
  // Entries for the card of the finished model; may be empty.
  std::function<nlohmann::ordered_json(Objective&, const std::vector<Batch>& validation)> judge = {};
};

// `recipe` gives everything but the model: folders, budget, batches, optimizer, device.
Result<PretrainSummary> Train(const PretrainOptions& recipe, const PretrainContext& context, Compute compute,
                              TrainingData data, const TrainingTask& task);

// The parts that Train() takes, as the recipe wants them.
Result<Compute> ComputeOf(const PretrainOptions& recipe, const PretrainContext& context);
Result<TrainingData> DataOf(const PretrainOptions& recipe, const Compute& compute);

// What a training verb does, with the other processes of its job if it was started as one of several: `run` gets the
// context with its group. Exceptions become errors; an error of one rank ends all of them, and each hears why.
Result<PretrainSummary> RunJob(const PretrainContext& context,
                               const std::function<Result<PretrainSummary>(const PretrainContext&)>& run);

// LibTorch's exceptions (out of GPU memory, no such device) as errors.
Result<PretrainSummary> WithoutExceptions(const std::function<Result<PretrainSummary>()>& run);

}  // namespace grove::train
