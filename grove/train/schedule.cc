// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/schedule.h"

#include <algorithm>
#include <cmath>

namespace grove::train {

double BudgetFraction(const PretrainOptions& options, const Progress& progress) {
  if (options.steps > 0) return static_cast<double>(progress.step) / static_cast<double>(options.steps);
  if (options.tokens > 0) return static_cast<double>(progress.tokens) / static_cast<double>(options.tokens);
  return progress.seconds / (60.0 * options.minutes);
}

double RateFactor(double fraction) { return std::clamp(std::min(0.25 + fraction, (1.0 - fraction) / 0.25), 0.0, 1.0); }

int64_t MicroBatches(const PretrainOptions& options, double fraction) {
  const int64_t full = options.batch / options.MicroBatch();
  if (options.batch_ramp <= 0 || fraction >= options.batch_ramp) return full;
  const double grown = std::round(static_cast<double>(full) * fraction / options.batch_ramp);
  return std::clamp<int64_t>(static_cast<int64_t>(grown), 1, full);
}

}  // namespace grove::train
