// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The logs of runs (run_log.h) as curves. Reads what is there: of a run that is still going, of one that was killed in
// the middle of a line, of an older version whose lines lack a figure.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "grove/base/result.h"

namespace grove::train {

// Where in its run a logged line stands.
struct Moment {
  int64_t step = 0;
  double tokens = 0, seconds = 0;
};

struct LoggedStep {
  Moment at;
  std::map<std::string, double> figures;  // every other number of the line: loss, rate, gradient_norm, ...
};

// One layer's columns of a routing line (routing_monitor.h), by level; NaN where a level has none.
struct LoggedLayer {
  int64_t layer = 0;
  std::map<std::string, std::vector<double>> columns;
};

struct LoggedRouting {
  Moment at;
  std::vector<LoggedLayer> layers;
};

struct RunHistory {
  std::string name;              // the folder's, or the file's; set apart from others by UniqueNames()
  std::string path;              // as given
  nlohmann::ordered_json start;  // the line the log begins with; an object, perhaps empty
  std::vector<LoggedStep> steps, validations;
  std::vector<LoggedRouting> routings;
  bool finished = false;
  int64_t unreadable_lines = 0;  // a killed writer's last line, or damage
};

// `path` is a run's folder or a log itself. An error if there is no log or nothing readable in it.
Result<RunHistory> ReadRunHistory(const std::string& path);

// Runs whose names are equal take their whole paths in place of them.
void UniqueNames(std::vector<RunHistory>& runs);

}  // namespace grove::train
