// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/report_routing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "grove/train/report_chart.h"

namespace grove::train {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

const std::vector<double>& Column(const LoggedLayer& layer, const std::string& name) {
  static const std::vector<double> none;
  const auto found = layer.columns.find(name);
  return found == layer.columns.end() ? none : found->second;
}

// Mean of the finite values that `of` gives for the layers.
double MeanOverLayers(const LoggedRouting& routing, const std::function<double(const LoggedLayer&)>& of) {
  double sum = 0;
  int count = 0;
  for (const LoggedLayer& layer : routing.layers) {
    const double value = of(layer);
    if (!std::isfinite(value)) continue;
    sum += value;
    ++count;
  }
  return count > 0 ? sum / count : kNothing;
}

double Mean(const std::vector<double>& column) {
  double sum = 0;
  int count = 0;
  for (const double value : column) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++count;
  }
  return count > 0 ? sum / count : kNothing;
}

double At(const std::vector<double>& column, size_t level) { return level < column.size() ? column[level] : kNothing; }
double Last(const std::vector<double>& column) { return column.empty() ? kNothing : column.back(); }

// Share of a layer's units that a count holds, in percent.
double UnitShare(const LoggedLayer& layer, const std::string& count) {
  const double units = Mean(Column(layer, "units")), counted = Mean(Column(layer, count));
  return units > 0 ? 100 * counted / units : kNothing;
}

Series Curve(const RunHistory& run, const std::string& name, size_t style,
             const std::function<double(const LoggedRouting&)>& value) {
  Series series{name, style, {}};
  for (const LoggedRouting& routing : run.routings) series.points.emplace_back(routing.at.tokens, value(routing));
  return series;
}

std::string Comparison(const std::vector<RunHistory>& runs, Chart chart,
                       const std::function<double(const LoggedLayer&)>& of) {
  chart.x_label = "tokens";
  for (size_t i = 0; i < runs.size(); ++i) {
    chart.series.push_back(
        Curve(runs[i], runs[i].name, i, [&](const LoggedRouting& routing) { return MeanOverLayers(routing, of); }));
  }
  return ChartSvg(chart);
}

// One line per level, each the mean over the run's layers.
std::string ByLevel(const RunHistory& run, Chart chart, const std::string& column) {
  chart.x_label = "tokens";
  chart.legend = true;
  size_t levels = 0;
  for (const LoggedRouting& routing : run.routings) {
    for (const LoggedLayer& layer : routing.layers) levels = std::max(levels, Column(layer, column).size());
  }
  for (size_t level = 0; level < levels; ++level) {
    const auto at_level = [&](const LoggedLayer& layer) { return At(Column(layer, column), level); };
    chart.series.push_back(Curve(run, levels == 1 ? "all units" : fmt::format("level {}", level), level,
                                 [&](const LoggedRouting& routing) { return MeanOverLayers(routing, at_level); }));
  }
  return ChartSvg(chart);
}

// One line per layer of the model.
std::string ByLayer(const RunHistory& run, Chart chart, const std::function<double(const LoggedLayer&)>& of) {
  chart.x_label = "tokens";
  chart.legend = true;
  std::vector<int64_t> layers;
  for (const LoggedRouting& routing : run.routings) {
    for (const LoggedLayer& layer : routing.layers) {
      if (std::find(layers.begin(), layers.end(), layer.layer) == layers.end()) layers.push_back(layer.layer);
    }
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto value = [&](const LoggedRouting& routing) {
      const auto found = std::find_if(routing.layers.begin(), routing.layers.end(),
                                      [&](const LoggedLayer& layer) { return layer.layer == layers[i]; });
      return found == routing.layers.end() ? kNothing : of(*found);
    };
    chart.series.push_back(Curve(run, fmt::format("layer {}", layers[i]), i, value));
  }
  return ChartSvg(chart);
}

double EvennessOfTheLastLevel(const LoggedLayer& layer) { return Last(Column(layer, "usage_entropy")); }
double MeanEntropy(const LoggedLayer& layer) { return Mean(Column(layer, "entropy")); }

std::string Details(const RunHistory& run, size_t number) {
  if (run.routings.empty()) return "";
  std::string out =
      fmt::format("<details><summary>{}{}: level by level, layer by layer</summary>\n<div class=\"charts\">\n",
                  KeyHtml(number), EscapeHtml(run.name));
  out += ByLevel(run, {.title = "Decision entropy by level (nats)", .from_zero = true}, "entropy");
  out += ByLevel(run, {.title = "Effective batch of a unit by level (tokens)", .log_y = true}, "effective_batch");
  out += ByLevel(run, {.title = "Gradient norm of the units by level", .log_y = true}, "gradient_norm");
  out += ByLevel(run, {.title = "Gradient norm of the decisions by level", .log_y = true}, "decision_gradient_norm");
  out += ByLayer(run, {.title = "Decision entropy by layer (nats)", .from_zero = true}, MeanEntropy);
  out += ByLayer(run, {.title = "Evenness of use by layer, last level"}, EvennessOfTheLastLevel);
  out += ByLayer(run, {.title = "Dead units by layer (%)", .from_zero = true},
                 [](const LoggedLayer& layer) { return UnitShare(layer, "dead"); });
  return out + "</div></details>\n";
}

}  // namespace

std::string LegendHtml(const std::vector<RunHistory>& runs) {
  std::string out = "<p class=\"legend\">";
  for (size_t i = 0; i < runs.size(); ++i)
    out += fmt::format("<span>{}{}</span> ", KeyHtml(i), EscapeHtml(runs[i].name));
  return out + "</p>\n";
}

std::string RoutingSection(const std::vector<RunHistory>& runs) {
  if (std::all_of(runs.begin(), runs.end(), [](const RunHistory& run) { return run.routings.empty(); })) return "";
  std::string out = "<h2>Routing</h2>\n" + LegendHtml(runs) + "<div class=\"charts\">\n";
  out += Comparison(runs, {.title = "Decision entropy (nats; 0.69 = undecided, 0 = hard)", .from_zero = true},
                    MeanEntropy);
  out += Comparison(runs, {.title = "Evenness of use, last level (1 = even)"}, EvennessOfTheLastLevel);
  out += Comparison(runs, {.title = "Dead units (%)", .from_zero = true},
                    [](const LoggedLayer& layer) { return UnitShare(layer, "dead"); });
  out += Comparison(runs, {.title = "Over-fragmented units (%)", .from_zero = true},
                    [](const LoggedLayer& layer) { return UnitShare(layer, "fragmented"); });
  out += Comparison(runs, {.title = "Effective batch of a unit, last level (tokens)", .log_y = true},
                    [](const LoggedLayer& layer) { return Last(Column(layer, "effective_batch")); });
  out +=
      "</div>\n<p class=\"soft\">Of one optimizer step each, means over the layers; docs/diagnostics.md says what each "
      "figure means and what to do about it.</p>\n";
  for (size_t i = 0; i < runs.size(); ++i) out += Details(runs[i], i);
  return out;
}

}  // namespace grove::train
