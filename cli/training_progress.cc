// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/training_progress.h"

#include <cstdio>

namespace grove::cli {

void TrainingProgress::Notice(const std::string& sentence) {
  fmt::print(stderr, "grove-train {}: {}\n", verb_, sentence);
}

void TrainingProgress::Report(const train::TrainingReport& report) {
  if (report.tokens_per_second > 0) speed_ = report.tokens_per_second;
  std::string note = fmt::format("step {}, loss {:.3f}", CountText(report.progress.step), report.loss);
  if (report.validation_loss) note += fmt::format(", validation {:.3f}", *report.validation_loss);
  progress_.Update(report.fraction, fmt::format("{}, {} tokens/s", note, CountText(static_cast<int64_t>(speed_))));
}

}  // namespace grove::cli
