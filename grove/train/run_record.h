// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What a training run tells: the lines of log.jsonl, the reports to its observer, and the card of the model. On ranks
// other than 0 there is neither log nor observer, and everything here does nothing.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "grove/base/result.h"
#include "grove/train/pretrain.h"
#include "grove/train/run_log.h"
#include "grove/train/train_loop.h"

namespace grove::train {

class RunRecord {
 public:
  // `task` outlives this object; `observer` may be null.
  RunRecord(const TrainingTask& task, PretrainObserver* observer, std::optional<RunLog> log)
      : task_(task), observer_(observer), log_(std::move(log)) {}

  void Notice(const std::string& sentence) const;

  // Cuts the log to what belongs to the state that the run goes on from.
  Status CutTo(int64_t bytes);
  Status Start(const Compute& compute, const TrainingData& data, const nn::TextModel& model);
  // `extra` goes into the line as it is.
  Status Step(const TrainingReport& report, double rate, double gradient_norm, const nlohmann::ordered_json& extra);
  Status Routing(const Progress& progress, const nlohmann::ordered_json& layers);  // RoutingLine's
  Status Validation(const TrainingReport& report);
  Status End(const TrainingReport& report);
  // The length of the log, all of it on the disk.
  Result<int64_t> Sync();

  // What the model was made of and how well it does.
  nlohmann::ordered_json Card(const TrainingReport& report, const Compute& compute, const TrainingData& data,
                              const nn::TextModel& model) const;

 private:
  const TrainingTask& task_;
  PretrainObserver* observer_;
  std::optional<RunLog> log_;
};

}  // namespace grove::train
