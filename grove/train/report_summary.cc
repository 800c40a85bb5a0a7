// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/report_summary.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "grove/train/model_options.h"

namespace grove::train {
namespace {

using Json = nlohmann::ordered_json;

std::string TextOf(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

const Json& OptionsOf(const RunHistory& run) {
  static const Json none = Json::object();
  const auto found = run.start.find("options");
  return found != run.start.end() && found->is_object() ? *found : none;
}

std::string OptionOf(const RunHistory& run, const char* name) {
  const Json& options = OptionsOf(run);
  return options.contains(name) ? TextOf(options[name]) : "";
}

std::optional<int64_t> WholeOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<int64_t>();
}

// The model that the run's options describe, where they do.
std::optional<ModelConfig> ConfigOf(const RunHistory& run) {
  const Json& options = OptionsOf(run);
  if (!options.contains("feed_forward") || !options.contains("width")) return std::nullopt;
  if (!OptionOf(run, "layer_feed_forward").empty()) return std::nullopt;  // layers that differ have no common number
  ModelOptions model;
  OptionList list;
  AddModelOptions(model, list);
  for (const Option& option : list) {
    if (options.contains(option.name) && !SetOption(option, TextOf(options[option.name]), option.name).ok())
      return std::nullopt;
  }
  int64_t vocabulary = 1000;  // plays no part in the feedforward layer
  if (run.start.contains("data") && run.start["data"].is_object())
    vocabulary = WholeOf(run.start["data"], "vocabulary").value_or(vocabulary);
  auto config = ModelConfigOf(model, 0, vocabulary, 0);
  return config.ok() ? std::optional(std::move(config).value()) : std::nullopt;
}

std::optional<double> LastFigure(const std::vector<LoggedStep>& steps, const char* name) {
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (const auto found = step->figures.find(name); found != step->figures.end()) return found->second;
  }
  return std::nullopt;
}

std::optional<double> MedianFigure(const std::vector<LoggedStep>& steps, const char* name) {
  std::vector<double> values;
  for (const LoggedStep& step : steps) {
    if (const auto found = step.figures.find(name); found != step.figures.end()) values.push_back(found->second);
  }
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

RunSummary SummaryOf(const RunHistory& run) {
  RunSummary summary{.name = run.name, .finished = run.finished};
  if (run.start.contains("feed_forward")) summary.kind = TextOf(run.start["feed_forward"]);
  if (run.start.contains("device")) summary.device = TextOf(run.start["device"]);
  summary.parameters = WholeOf(run.start, "parameters");
  if (const auto config = ConfigOf(run)) {
    summary.active_neurons = config->feed_forward.ActiveNeurons();
    summary.stored_neurons = config->feed_forward.StoredNeurons();
  }
  for (const auto* lines : {&run.steps, &run.validations}) {
    if (lines->empty()) continue;
    summary.tokens = std::max(summary.tokens, lines->back().at.tokens);
    summary.seconds = std::max(summary.seconds, lines->back().at.seconds);
  }
  summary.tokens_per_second = MedianFigure(run.steps, "tokens_per_second");
  summary.loss = LastFigure(run.steps, "loss");
  summary.validation_loss = LastFigure(run.validations, "loss");
  return summary;
}

bool Twins(const RunHistory& a, const RunHistory& b, double tokens_a, double tokens_b) {
  for (const char* name : {"data", "layers", "width", "heads", "length"}) {
    if (OptionOf(a, name) != OptionOf(b, name)) return false;
  }
  return std::abs(tokens_a - tokens_b) <= 0.02 * std::max(tokens_a, tokens_b);
}

// Mean validation loss of the run's twins of a kind.
std::optional<double> TwinLoss(const std::vector<RunHistory>& runs, const std::vector<RunSummary>& summaries,
                               size_t own, const std::string& kind) {
  double sum = 0;
  int twins = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (OptionOf(runs[i], "feed_forward") != kind || !summaries[i].validation_loss) continue;
    if (!Twins(runs[own], runs[i], summaries[own].tokens, summaries[i].tokens)) continue;
    sum += *summaries[i].validation_loss;
    ++twins;
  }
  return twins > 0 ? std::optional(sum / twins) : std::nullopt;
}

template <class T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

}  // namespace

std::vector<RunSummary> Summarize(const std::vector<RunHistory>& runs) {
  std::vector<RunSummary> summaries;
  for (const RunHistory& run : runs) summaries.push_back(SummaryOf(run));
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::string kind = OptionOf(runs[i], "feed_forward");
    if (kind.empty() || kind == "none" || kind == "dense" || !summaries[i].validation_loss) continue;
    const auto none = TwinLoss(runs, summaries, i, "none"), dense = TwinLoss(runs, summaries, i, "dense");
    if (none && dense && *none > *dense)
      summaries[i].recovered_share = (*none - *summaries[i].validation_loss) / (*none - *dense);
  }
  return summaries;
}

Json SummaryJson(const std::vector<RunSummary>& summaries) {
  Json list = Json::array();
  for (const RunSummary& run : summaries) {
    list.push_back({{"name", run.name},
                    {"feed_forward", run.kind},
                    {"device", run.device},
                    {"finished", run.finished},
                    {"parameters", OrNull(run.parameters)},
                    {"active_neurons", OrNull(run.active_neurons)},
                    {"stored_neurons", OrNull(run.stored_neurons)},
                    {"tokens", static_cast<int64_t>(run.tokens)},
                    {"seconds", run.seconds},
                    {"tokens_per_second", OrNull(run.tokens_per_second)},
                    {"loss", OrNull(run.loss)},
                    {"validation_loss", OrNull(run.validation_loss)},
                    {"recovered_share", OrNull(run.recovered_share)}});
  }
  return list;
}

std::vector<DifferingOption> DifferingOptions(const std::vector<RunHistory>& runs) {
  std::vector<std::string> names;  // in the order of the logs
  for (const RunHistory& run : runs) {
    for (const auto& [name, value] : OptionsOf(run).items()) {
      if (name != "output" && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  std::vector<DifferingOption> differing;
  for (const std::string& name : names) {
    DifferingOption option{name, {}};
    for (const RunHistory& run : runs) option.values.push_back(OptionOf(run, name.c_str()));
    if (std::set<std::string>(option.values.begin(), option.values.end()).size() > 1)
      differing.push_back(std::move(option));
  }
  return differing;
}

}  // namespace grove::train
