// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What a whole run would take, from one measured step.
#pragma once

#include <cstdint>

#include "grove/io/model_config.h"
#include "grove/train/compute.h"
#include "grove/train/objective.h"
#include "grove/train/pretrain.h"
#include "grove/train/pretrain_options.h"

namespace grove::train {

// One step of the full batch, of all processes.
struct StepTiming {
  double seconds = 0;
  double share = 1;  // of the step's passes that were computed; the rest takes as long again
  int64_t tokens = 0, sequences = 0;
  double validation_seconds = 0;  // of one whole validation
};

// Steps, tokens and seconds until the budget is used, the batch ramp included, validations not.
Progress RunToTheEnd(const PretrainOptions& options, double tokens_per_sequence, double seconds_per_sequence);

// Multiplications and additions (2 FLOP) of the matrix products that one training token needs: forward and twice as
// much backward, counting only neurons that are computed for a token, and the decoder at masked words only.
double TrainingFlopPerToken(const ModelConfig& config, int64_t length, double mask_share);

DryRunReport PredictRun(const PretrainOptions& options, const ModelConfig& config, const StepTiming& timing,
                        const Compute& compute, Objective& objective);

}  // namespace grove::train
