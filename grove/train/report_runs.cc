// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/report_runs.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>
#include <system_error>

#include "grove/io/files.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

double NumberOf(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number() ? found->get<double>() : 0.0;
}

Moment MomentOf(const Json& line) {
  return {static_cast<int64_t>(NumberOf(line, "step")), NumberOf(line, "tokens"), NumberOf(line, "seconds")};
}

LoggedStep StepOf(const Json& line) {
  LoggedStep step{MomentOf(line), {}};
  for (const auto& [key, value] : line.items()) {
    if (value.is_number() && key != "step" && key != "tokens" && key != "seconds")
      step.figures[key] = value.get<double>();
  }
  return step;
}

LoggedRouting RoutingOf(const Json& line) {
  LoggedRouting routing{MomentOf(line), {}};
  const auto layers = line.find("layers");
  if (layers == line.end() || !layers->is_array()) return routing;
  for (const Json& entry : *layers) {
    if (!entry.is_object()) continue;
    LoggedLayer layer{static_cast<int64_t>(NumberOf(entry, "layer")), {}};
    for (const auto& [key, column] : entry.items()) {
      if (!column.is_array()) continue;
      std::vector<double>& values = layer.columns[key];
      for (const Json& value : column) {
        values.push_back(value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN());
      }
    }
    routing.layers.push_back(std::move(layer));
  }
  return routing;
}

// False: not a line of a log.
bool AddLine(const std::string& text, RunHistory& run) {
  const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object() || !line.contains("event") || !line["event"].is_string()) return false;
  const std::string event = line["event"].get<std::string>();
  if (event == "start") run.start = line;
  if (event == "step") run.steps.push_back(StepOf(line));
  if (event == "validation") run.validations.push_back(StepOf(line));
  if (event == "routing") run.routings.push_back(RoutingOf(line));
  if (event == "end") run.finished = true;
  return true;
}

}  // namespace

Result<RunHistory> ReadRunHistory(const std::string& path) {
  std::error_code error;
  const bool folder = fs::is_directory(path, error);
  const std::string log = folder ? (fs::path(path) / "log.jsonl").string() : path;
  if (folder && !fs::exists(log, error)) {
    return Error(ErrorCode::kNotFound, path + " holds no run (there is no log.jsonl); name the --output of a run");
  }
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(log));
  RunHistory run;
  const fs::path named = fs::path(log).filename() == "log.jsonl" ? fs::path(log).parent_path() : fs::path(log).stem();
  run.name = fs::weakly_canonical(named, error).filename().string();
  run.path = path;
  run.start = Json::object();
  std::istringstream lines(text);
  int64_t readable = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    ++(AddLine(line, run) ? readable : run.unreadable_lines);
  }
  if (readable == 0) return Error(ErrorCode::kCorrupt, log + " holds no line of a run's log; name the folder of a run");
  return run;
}

void UniqueNames(std::vector<RunHistory>& runs) {
  std::map<std::string, int> uses;
  for (const RunHistory& run : runs) ++uses[run.name];
  for (RunHistory& run : runs) {
    if (uses[run.name] > 1) run.name = run.path;
  }
}

}  // namespace grove::train
