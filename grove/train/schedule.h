// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What depends on how much of the budget is used: the rate and the batch.
#pragma once

#include <cstdint>

#include "grove/train/pretrain_options.h"

namespace grove::train {

// What a run has done so far; what a checkpoint keeps of it.
struct Progress {
  int64_t step = 0;       // optimizer steps
  int64_t tokens = 0;     // training tokens seen
  int64_t sequences = 0;  // the same in sequences: the position in the data
  double seconds = 0;     // wall-clock, validation and checkpoints included, summed over resumptions
};

// Used share of the budget, 0 at the start; the run is over at 1.
double BudgetFraction(const PretrainOptions& options, const Progress& progress);

// The recipe's triangle, of the peak rate: min(0.25 + x, (1 - x) / 0.25), within [0, 1].
double RateFactor(double fraction);

// Micro-batches of the next step: the full batch, or fewer while it grows linearly over `batch_ramp` of the budget.
int64_t MicroBatches(const PretrainOptions& options, double fraction);

}  // namespace grove::train
