// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Checkpoints: everything a run needs to go on, in one safetensors file, so that a kill at any moment leaves either the
// whole checkpoint or the ones before it. A folder holds checkpoint-<step>.safetensors, newest last.
//
//   tensors     parameter.<name>, moment1.<name>, moment2.<name>; with per-unit updates units.<layer>.share, .visited
//   metadata    step, tokens, sequences, seconds, log_bytes, loss_sum, loss_steps, options, and the checksum of
//   WriteSafetensors
//
// Random numbers need no state: initialization, order, masks and dropout are functions of the seed and of a position.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/nn/torch_compat.h"
#include "grove/train/adamw.h"
#include "grove/train/schedule.h"

namespace grove::train {

struct CheckpointState {
  Progress progress;
  int64_t log_bytes = 0;  // length of the log that belongs to this state
  double loss_sum = 0;    // over the steps that the log does not report yet, and their number
  int64_t loss_steps = 0;
  std::string options;  // OptionsJson of the run
};

// Writes checkpoint `state.progress.step` and then removes all but the newest `keep`.
Status SaveCheckpoint(const std::string& folder, const torch::nn::Module& model, const AdamW& optimizer,
                      const CheckpointState& state, int64_t keep);

// Restores the newest intact checkpoint of the folder; none there: no value. `warnings` receives a sentence for every
// newer checkpoint that is damaged. An error if there are checkpoints and none is intact.
Result<std::optional<CheckpointState>> LoadNewestCheckpoint(const std::string& folder, const torch::nn::Module& model,
                                                            AdamW& optimizer, std::vector<std::string>* warnings);

}  // namespace grove::train
