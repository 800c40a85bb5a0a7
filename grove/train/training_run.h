// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The loop of a training run: batches, gradients, optimizer steps, validations, checkpoints, the finished model. With
// several processes every rank runs the same loop on its share of each batch; rank 0 writes.
//
// The gradient of a step is that of the mean over all masked words of the whole batch, whatever the number of
// micro-batches, threads and processes, up to rounding.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grove/train/adamw.h"
#include "grove/train/checkpoint.h"
#include "grove/train/gradient_sums.h"
#include "grove/train/replicas.h"
#include "grove/train/routing_monitor.h"
#include "grove/train/run_record.h"

namespace grove::train {

// The parts of a run, built once.
struct RunParts {
  Compute compute;
  TrainingData data;
  std::shared_ptr<Objective> objective;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<Replicas> replicas;
  std::unique_ptr<GradientSums> sums;  // of several processes; else null
  RoutingMonitor routing;
};
Result<RunParts> MakeParts(const PretrainOptions& options, const PretrainContext& context, const TrainingTask& task,
                           Compute compute, TrainingData data);

class TrainingRun {
 public:
  // Everything given outlives the run.
  TrainingRun(const PretrainOptions& options, const PretrainContext& context, const TrainingTask& task, RunParts parts,
              std::optional<RunLog> log);

  // The whole run, or what is left of one that is resumed.
  Result<PretrainSummary> Execute();
  // One step and one validation batch, nothing written: what a whole run would take.
  Result<PretrainSummary> TryOut();

 private:
  Status Begin();
  Result<std::optional<CheckpointState>> Restore();
  Status Share(const std::optional<CheckpointState>& state);
  Status Loop();
  // One optimizer step on `micro_batches`; passes after `deadline` (on the clock) are left out. Returns their share.
  double Step(int64_t micro_batches, double rate, double deadline);
  void AddGradients(const Batch& batch, const BatchCounts& whole, bool first_pass);
  Status Tick();
  Status ReportLoss();
  Status ReportRouting();
  Status Validate();
  double ValidationLoss();
  Status Checkpoint();
  Result<PretrainSummary> Finish();
  Status WriteModel(const std::string& card);

  ProcessGroup* group() const { return context_.group; }
  bool first() const { return parts_.compute.rank == 0; }
  std::string CheckpointFolder() const { return options_.output + "/checkpoints"; }
  bool Due(int64_t every) const { return every > 0 && progress_.step % every == 0; }
  bool RoutingDue(int64_t step) const {
    const int64_t every = options_.log_every * options_.routing_every;
    return every > 0 && step % every == 0 && !parts_.routing.empty();
  }
  double Fraction() const { return BudgetFraction(options_, progress_); }
  TrainingReport Report() const { return {progress_, Fraction(), loss_, validation_loss_, 0, 0}; }
  void OpenStream();
  void ReadValidationBatches();

  const PretrainOptions& options_;
  const PretrainContext& context_;
  const TrainingTask& task_;
  RunParts parts_;
  RunRecord record_;
  Progress progress_, reported_;  // now, and at the last report
  double started_ = 0;            // on the clock, as if the run had never been interrupted
  bool stopped_ = false, asked_to_stop_ = false;
  std::unique_ptr<BatchStream> stream_;
  std::vector<Batch> validation_;
  torch::Tensor terms_;            // of the latest step; undefined if the objective has none
  torch::Tensor loss_sum_, norm_;  // on the device: reading them waits for it; the sum is of this rank's share
  int64_t loss_steps_ = 0;         // summed in loss_sum_ since the last report
  double loss_ = 0;
  double rate_ = 0;  // of the latest step
  std::optional<double> validation_loss_;
  int64_t validated_step_ = -1;
};

}  // namespace grove::train
