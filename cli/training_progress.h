// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <string>

#include "cli/output.h"
#include "grove/train/pretrain.h"

namespace grove::cli {

// A training run's words on stderr: sentences, and a bar with the loss and the speed.
class TrainingProgress final : public train::PretrainObserver {
 public:
  explicit TrainingProgress(const std::string& verb) : verb_(verb), progress_(verb) {}
  void Notice(const std::string& sentence) override;
  void Report(const train::TrainingReport& report) override;

 private:
  std::string verb_;
  Progress progress_;
  double speed_ = 0;
};

}  // namespace grove::cli
