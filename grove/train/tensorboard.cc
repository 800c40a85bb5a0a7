// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/tensorboard.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

namespace grove::train {
namespace {

using Json = nlohmann::ordered_json;

// Of a routing line's columns: counts are added over the levels, the rest is averaged.
constexpr std::array<std::string_view, 3> kCounts = {"dead", "fragmented", "unvisited"};
constexpr std::array<std::string_view, 5> kMeans = {"decision_gradient_norm", "effective_batch", "entropy",
                                                    "gradient_norm", "usage_entropy"};

void AddNumbers(const Json& line, const std::string& group, Event& event) {
  for (const auto& [key, value] : line.items()) {
    if (value.is_number() && key != "step" && key != "seconds")
      event.scalars.push_back({group + "/" + key, value.get<double>()});
  }
}

// The sum over the levels that have the figure, and how many have it.
std::pair<double, int> Sum(const Json& layer, std::string_view figure) {
  double sum = 0;
  int levels = 0;
  const auto column = layer.find(figure);
  if (column == layer.end() || !column->is_array()) return {0, 0};
  for (const Json& value : *column) {
    if (!value.is_number()) continue;
    sum += value.get<double>();
    ++levels;
  }
  return {sum, levels};
}

// Buckets of a routing line: units with 0, 1, 2 to 3, 4 to 7, ... tokens. What is not known but for the bucket, the
// exact numbers, is taken from the bucket's middle.
Histogram TokensPerUnit(const Json& counts) {
  Histogram histogram;
  double low = 0;
  bool any = false;
  for (const Json& count : counts) {
    if (!count.is_number()) continue;
    const double units = count.get<double>(), high = low == 0 ? 0 : 2 * low - 1, middle = (low + high) / 2;
    if (units > 0) {
      if (!any) histogram.min = low;
      histogram.max = high;
      any = true;
    }
    histogram.sum += units * middle;
    histogram.sum_squares += units * middle * middle;
    histogram.limits.push_back(high + 0.5);
    histogram.counts.push_back(units);
    low = high + 1;
  }
  return histogram;
}

void AddRouting(const Json& line, Event& event) {
  const auto layers = line.find("layers");
  if (layers == line.end() || !layers->is_array()) return;
  for (const Json& layer : *layers) {
    if (!layer.is_object()) continue;
    const auto add = [&](std::string_view figure, bool mean) {
      const auto [sum, levels] = Sum(layer, figure);
      if (levels == 0) return;
      event.scalars.push_back(
          {fmt::format("routing/{}/layer{}", figure, layer.value("layer", 0)), mean ? sum / levels : sum});
    };
    for (const std::string_view figure : kCounts) add(figure, false);
    for (const std::string_view figure : kMeans) add(figure, true);
    const auto counts = layer.find("histogram");
    if (counts == layer.end() || !counts->is_array()) continue;
    event.histograms.push_back(
        {fmt::format("routing/tokens_per_unit/layer{}", layer.value("layer", 0)), TokensPerUnit(*counts)});
  }
}

double NumberOf(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number() ? found->get<double>() : 0.0;
}

}  // namespace

Result<TensorBoard> TensorBoard::Create(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Error(ErrorCode::kIo, "cannot create " + folder + ": " + error.message());
  GROVE_ASSIGN_OR_RETURN(EventFile file, EventFile::Create(folder + "/events.out.tfevents.grove"));
  return TensorBoard(std::move(file));
}

Status TensorBoard::Add(const Json& line) {
  if (!line.is_object() || !line.contains("event") || !line["event"].is_string()) return Ok{};
  const std::string kind = line["event"].get<std::string>();
  if (kind == "start") start_ = NumberOf(line, "time");
  if (!line.contains("step") || kind == "start" || kind == "end") return Ok{};
  Event event{.wall_time = start_ + NumberOf(line, "seconds"), .step = static_cast<int64_t>(NumberOf(line, "step"))};
  if (kind == "routing") {
    AddRouting(line, event);
  } else {
    AddNumbers(line, kind == "step" ? "train" : kind, event);
  }
  return event.scalars.empty() ? Ok{} : file_.Write(event);
}

}  // namespace grove::train
