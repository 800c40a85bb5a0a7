// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Each run in one row, and what sets the runs apart.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "grove/train/report_runs.h"

namespace grove::train {

// No value: the log does not say.
struct RunSummary {
  std::string name{}, kind{}, device{};
  bool finished = false;
  std::optional<int64_t> parameters{}, active_neurons{}, stored_neurons{};  // neurons: of one layer
  double tokens = 0, seconds = 0;
  std::optional<double> tokens_per_second{};  // median of the logged steps
  std::optional<double> loss{}, validation_loss{};
  // (none - own) / (none - dense) of the validation losses: how much of what a dense layer gives the run's layer keeps.
  // Twins differ in the feedforward layer alone: same data, layers, width, heads and length, and tokens within 2 %; of
  // several (seeds) the mean counts.
  std::optional<double> recovered_share{};
};

std::vector<RunSummary> Summarize(const std::vector<RunHistory>& runs);
nlohmann::ordered_json SummaryJson(const std::vector<RunSummary>& summaries);

// Options whose values are not the same in all runs, with each run's value as text ("" where it has none).
struct DifferingOption {
  std::string name;
  std::vector<std::string> values;
};
std::vector<DifferingOption> DifferingOptions(const std::vector<RunHistory>& runs);

}  // namespace grove::train
