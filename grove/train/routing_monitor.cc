// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/routing_monitor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "grove/base/check.h"

namespace grove::train {
namespace {

int64_t Levels(const std::vector<int32_t>& level) {
  return level.empty() ? 0 : 1 + *std::max_element(level.begin(), level.end());
}

torch::Tensor IndexTensor(const std::vector<int32_t>& values) {
  return torch::tensor(std::vector<int64_t>(values.begin(), values.end()), torch::kLong);
}

// Squared norms of the gradients of `parameters`, added by the level of the unit that each row belongs to.
torch::Tensor SquaredGradients(const std::vector<nn::UnitLayout::Parameter>& parameters, const torch::Tensor& levels,
                               int64_t count) {
  torch::Tensor sums;
  for (const nn::UnitLayout::Parameter& parameter : parameters) {
    const torch::Tensor gradient = parameter.tensor.grad();
    if (!gradient.defined()) continue;
    const torch::Tensor by_row = gradient.movedim(parameter.dim, 0);
    const torch::Tensor by_unit = by_row.reshape({levels.numel(), -1}).to(torch::kFloat).square().sum(1);
    const torch::Tensor zeros = torch::zeros({count}, by_unit.options());
    const torch::Tensor by_level = zeros.index_add(0, levels.to(by_unit.device()), by_unit);
    sums = sums.defined() ? sums + by_level : by_level;
  }
  if (sums.defined()) return sums;
  return torch::zeros({count}, parameters.front().tensor.options().dtype(torch::kFloat).requires_grad(false));
}

double Entropy(std::span<const float> visits, double sum) {
  double entropy = 0;
  for (const float n : visits) {
    if (n > 0) entropy -= n / sum * std::log(n / sum);
  }
  return entropy;
}

// `visits` of one level; reordered.
LevelFigures FiguresOf(std::vector<float> visits, int64_t few_tokens) {
  std::sort(visits.begin(), visits.end());
  LevelFigures level;
  level.units = static_cast<int64_t>(visits.size());
  double sum = 0, inverse = 0;
  for (const float n : visits) {
    sum += n;
    if (n > 0) inverse += 1.0 / n;
    level.unvisited += n == 0;
    level.fragmented += n > 0 && n < static_cast<float>(few_tokens);
  }
  level.mean_tokens = sum / static_cast<double>(level.units);
  level.min_tokens = visits.front();
  level.max_tokens = visits.back();
  level.median_tokens = visits[visits.size() / 2];
  if (inverse > 0) level.effective_batch = static_cast<double>(level.units - level.unvisited) / inverse;
  if (level.units > 1 && sum > 0) {
    level.usage_entropy = Entropy(visits, sum) / std::log(static_cast<double>(level.units));
  }
  return level;
}

// Mean over the decisions of a level and over the tokens.
std::vector<double> MeanByLevel(const std::vector<int32_t>& decision_level, const float* sums, double tokens) {
  std::vector<double> mean(static_cast<size_t>(Levels(decision_level))), count(mean.size());
  for (size_t decision = 0; decision < decision_level.size(); ++decision) {
    mean[static_cast<size_t>(decision_level[decision])] += sums[decision];
    count[static_cast<size_t>(decision_level[decision])] += tokens;
  }
  for (size_t level = 0; level < mean.size(); ++level) {
    if (count[level] > 0) mean[level] /= count[level];
  }
  return mean;
}

std::vector<int64_t> HistogramOf(const std::vector<float>& visits) {
  std::vector<int64_t> counts;
  for (const float n : visits) {
    const auto bucket = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(n)));
    if (bucket >= counts.size()) counts.resize(bucket + 1);
    ++counts[bucket];
  }
  return counts;
}

double Rounded(double value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double unit = std::pow(10.0, 3 - std::floor(std::log10(std::abs(value))));
  return std::round(value * unit) / unit;
}

}  // namespace

struct RoutingMonitor::Layer {
  int64_t number;
  std::vector<std::shared_ptr<nn::FeedForward>> replicas;
  nn::UnitLayout layout;
  torch::Tensor unit_levels, decision_levels;  // of the layout, int64
  std::vector<int32_t> idle_reports;           // of each unit: reports in a row without a visit

  int64_t units() const { return static_cast<int64_t>(layout.units()); }
  int64_t decisions() const { return static_cast<int64_t>(layout.decision_level.size()); }
};

RoutingMonitor::RoutingMonitor(RoutingMonitor&&) noexcept = default;
RoutingMonitor::~RoutingMonitor() = default;

RoutingMonitor::RoutingMonitor(std::vector<Layers> replicas, const Options& options) : options_(options) {
  GROVE_CHECK(!replicas.empty());
  for (size_t block = 0; block < replicas[0].size(); ++block) {
    if (!replicas[0][block]) continue;
    nn::UnitLayout layout = replicas[0][block]->Units();
    if (layout.units() == 0) continue;
    Layer layer{static_cast<int64_t>(block), {}, std::move(layout), {}, {}, {}};
    for (const Layers& replica : replicas) layer.replicas.push_back(replica[block]);
    layer.unit_levels = IndexTensor(layer.layout.unit_level);
    layer.decision_levels = IndexTensor(layer.layout.decision_level);
    layer.idle_reports.assign(layer.layout.units(), 0);
    layers_.push_back(std::move(layer));
  }
}

bool RoutingMonitor::empty() const { return layers_.empty(); }
const std::vector<UnitUse>& RoutingMonitor::use() const { return use_; }

void RoutingMonitor::BeginStep(bool report) {
  reporting_ = report;
  gathering_ = report || options_.every_step;
  use_.clear();
  for (const Layer& layer : layers_) {
    for (const auto& replica : layer.replicas) replica->CollectRouting(gathering_);
  }
}

void RoutingMonitor::EndStep(const std::function<void(torch::Tensor&)>& sum_over_processes) {
  if (!gathering_ || empty()) return;
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> parts;
  for (const Layer& layer : layers_) {
    nn::Routing sum;
    for (const auto& replica : layer.replicas) {
      replica->CollectRouting(false);
      sum.Add(replica->TakeRouting());
    }
    const auto where = layer.layout.parameters.front().tensor.options().dtype(torch::kFloat).requires_grad(false);
    const auto or_zeros = [&](const torch::Tensor& t, int64_t n) { return t.defined() ? t : torch::zeros({n}, where); };
    parts.push_back(or_zeros(sum.visits, layer.units()));
    parts.push_back(or_zeros(sum.entropy, layer.decisions()));
    parts.push_back(torch::full({1}, static_cast<double>(sum.tokens), where));
  }
  sums_ = torch::cat(parts);
  if (sum_over_processes) sum_over_processes(sums_);
  int64_t offset = 0;
  for (const Layer& layer : layers_) {
    const int64_t tokens_at = offset + layer.units() + layer.decisions();
    use_.push_back({layer.replicas[0].get(), sums_.narrow(0, offset, layer.units()), sums_[tokens_at]});
    offset = tokens_at + 1;
  }
  if (!reporting_) return;
  parts.clear();
  for (const Layer& layer : layers_) {
    const nn::UnitLayout& layout = layer.layout;
    parts.push_back(SquaredGradients(layout.parameters, layer.unit_levels, Levels(layout.unit_level)));
    if (layout.decision_parameters.empty()) continue;
    parts.push_back(SquaredGradients(layout.decision_parameters, layer.decision_levels, Levels(layout.decision_level)));
  }
  squared_gradients_ = torch::cat(parts);
}

// The figures of one layer's units, from its visits and its squared gradient norms by level.
void RoutingMonitor::AddLevels(Layer& layer, const float* visits, const float* squares, LayerFigures& figures) const {
  const std::vector<int32_t>& unit_level = layer.layout.unit_level;
  std::vector<std::vector<float>> by_level(static_cast<size_t>(Levels(unit_level)));
  std::vector<int64_t> dead(by_level.size());
  for (size_t unit = 0; unit < unit_level.size(); ++unit) {
    const auto level = static_cast<size_t>(unit_level[unit]);
    by_level[level].push_back(visits[unit]);
    int32_t& idle = layer.idle_reports[unit];
    idle = visits[unit] > 0 ? 0 : idle + 1;
    dead[level] += idle >= options_.dead_after;
  }
  figures.histogram = HistogramOf(by_level.back());
  for (size_t level = 0; level < by_level.size(); ++level) {
    if (by_level[level].empty()) continue;  // leaves lie below levels that hold decisions alone
    figures.levels.push_back(FiguresOf(std::move(by_level[level]), options_.few_tokens));
    figures.levels.back().dead = dead[level];
    figures.levels.back().gradient_norm = std::sqrt(static_cast<double>(squares[level]));
  }
}

std::vector<LayerFigures> RoutingMonitor::Report() {
  GROVE_CHECK(reporting_ && sums_.defined());
  const torch::Tensor sums = sums_.to(torch::kCPU);
  const torch::Tensor squares = squared_gradients_.to(torch::kCPU);
  const float* at = sums.data_ptr<float>();
  const float* square = squares.data_ptr<float>();
  std::vector<LayerFigures> report;
  for (Layer& layer : layers_) {
    const nn::UnitLayout& layout = layer.layout;
    const float* visits = std::exchange(at, at + layer.units());
    const float* entropy = std::exchange(at, at + layer.decisions());
    LayerFigures figures;
    figures.layer = layer.number;
    figures.tokens = *at++;
    AddLevels(layer, visits, std::exchange(square, square + Levels(layout.unit_level)), figures);
    figures.entropy = MeanByLevel(layout.decision_level, entropy, figures.tokens);
    for (size_t level = 0; !layout.decision_parameters.empty() && level < figures.entropy.size(); ++level) {
      figures.decision_gradient_norm.push_back(std::sqrt(static_cast<double>(*square++)));
    }
    report.push_back(std::move(figures));
  }
  return report;
}

nlohmann::ordered_json RoutingLine(const std::vector<LayerFigures>& layers) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const LayerFigures& figures : layers) {
    Json layer{{"layer", figures.layer}, {"tokens", static_cast<int64_t>(figures.tokens)}};
    const auto rounded = [](const std::vector<double>& values) {
      Json column = Json::array();
      for (const double value : values) column.push_back(Rounded(value));
      return column;
    };
    const auto add = [&](const char* name, auto member) {
      Json column = Json::array();
      for (const LevelFigures& level : figures.levels) column.push_back(member(level));
      layer[name] = std::move(column);
    };
    if (!figures.entropy.empty()) layer["entropy"] = rounded(figures.entropy);
    add("units", [](const LevelFigures& f) { return f.units; });
    add("mean_tokens", [](const LevelFigures& f) { return Rounded(f.mean_tokens); });
    add("min_tokens", [](const LevelFigures& f) { return static_cast<int64_t>(f.min_tokens); });
    add("median_tokens", [](const LevelFigures& f) { return static_cast<int64_t>(f.median_tokens); });
    add("max_tokens", [](const LevelFigures& f) { return static_cast<int64_t>(f.max_tokens); });
    add("effective_batch", [](const LevelFigures& f) { return Rounded(f.effective_batch); });
    add("unvisited", [](const LevelFigures& f) { return f.unvisited; });
    add("dead", [](const LevelFigures& f) { return f.dead; });
    add("fragmented", [](const LevelFigures& f) { return f.fragmented; });
    add("usage_entropy",
        [](const LevelFigures& f) { return f.usage_entropy ? Json(Rounded(*f.usage_entropy)) : Json(); });
    add("gradient_norm", [](const LevelFigures& f) { return Rounded(f.gradient_norm); });
    if (!figures.decision_gradient_norm.empty())
      layer["decision_gradient_norm"] = rounded(figures.decision_gradient_norm);
    layer["histogram"] = figures.histogram;
    list.push_back(std::move(layer));
  }
  return {{"layers", std::move(list)}};
}

}  // namespace grove::train
