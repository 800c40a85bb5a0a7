// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The routing half of the report page: how each run's conditional layers harden and how evenly their units are used
// (docs/diagnostics.md).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "grove/train/report_runs.h"

namespace grove::train {

// Empty if no run logged its routing.
std::string RoutingSection(const std::vector<RunHistory>& runs);

std::string LegendHtml(const std::vector<RunHistory>& runs);

}  // namespace grove::train
