// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The page of `grove-train report`: one HTML file with everything in it, in light and dark, readable without script.
#pragma once

#include <string>
#include <vector>

#include "grove/train/report_runs.h"
#include "grove/train/report_summary.h"

namespace grove::train {

// `summaries` are Summarize(runs).
std::string ReportPage(const std::vector<RunHistory>& runs, const std::vector<RunSummary>& summaries);

}  // namespace grove::train
