// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove info: this build on this machine, or a model directory.
#include <dnnl.h>
#include <fmt/ranges.h>  // join

#include <filesystem>
#include <fstream>

#include "cli/output.h"
#include "cli/verbs.h"
#include "grove/io/json.h"
#include "grove/io/model_directory.h"
#include "grove/io/parameters.h"
#include "grove/kernels/target.h"

namespace grove::cli {
namespace {

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

Json MachineInfo(const CommonOptions& common) {
  const dnnl_version_t* dnnl = dnnl_version();
  return {{"version", GROVE_VERSION},
          {"cpu", CpuName()},
          {"threads", common.threads},
          {"targets", {{"compiled", CompiledTargets()}, {"available", AvailableTargets()}, {"active", ActiveTarget()}}},
          {"onednn", fmt::format("{}.{}.{}", dnnl->major, dnnl->minor, dnnl->patch)}};
}

// Parameters of the model: a tied decoder that is stored a second time counts once, neither the attention's constant
// nor the scales of int8 weights at all.
int64_t CountParameters(const SafetensorsFile& weights) {
  int64_t count = 0;
  for (const auto& [name, tensor] : weights.tensors()) {
    const bool again =
        name == "decoder.weight" || name.starts_with("cls.predictions.decoder.") || name == "vocab_projector.weight";
    const bool scales = name.ends_with(kScaleSuffix) && weights.Has(name.substr(0, name.rfind(kScaleSuffix)));
    if (again || scales || name.ends_with(".norm_factor") || name.ends_with("position_ids")) continue;
    int64_t size = 1;
    for (const int64_t extent : tensor.shape) size *= extent;
    count += size;
  }
  return count;
}

Json LayerInfo(const FeedForwardConfig& layer, int64_t width) {
  return {{"kind", FeedForwardKindName(layer.kind)},
          {"description", DescribeFeedForward(layer)},
          {"stored_neurons", layer.StoredNeurons()},
          {"active_neurons", layer.ActiveNeurons(width)}};
}

// Of one layer; where they differ, kind "mixed" with the neurons of all layers together and each one under "layers".
Json FeedForwardInfo(const ModelConfig& config) {
  if (config.layer_feed_forward.empty()) return LayerInfo(config.feed_forward, config.width);
  Json info = {{"kind", "mixed"}, {"description", DescribeFeedForward(config)}};
  int64_t stored = 0, active = 0;
  for (const FeedForwardConfig& layer : config.layer_feed_forward) {
    stored += layer.StoredNeurons();
    active += layer.ActiveNeurons(config.width);
    info["layers"].push_back(LayerInfo(layer, config.width));
  }
  info["stored_neurons"] = stored;
  info["active_neurons"] = active;
  return info;
}

Result<Json> ModelInfo(const std::string& path) {
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory model, ModelDirectory::Open(path));
  const ModelConfig& config = model.config;
  std::error_code ignored;
  Json json = {
      {"model", path},
      {"family", ModelFamilyName(config.family)},
      {"head", HeadKindName(config.head.kind)},
      {"layers", config.layers},
      {"width", config.width},
      {"heads", config.heads},
      {"max_length", config.max_length},
      {"vocabulary", config.vocabulary},
      {"feed_forward", FeedForwardInfo(config)},
      {"parameters", CountParameters(model.weights)},
      {"precision", PrecisionName(config.weight_precision)},
      {"file_bytes", std::filesystem::file_size(model.weights.path(), ignored)},
  };
  const std::string card = path + "/training.json";
  if (std::filesystem::exists(card, ignored)) {
    GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(card));
    GROVE_ASSIGN_OR_RETURN(json["training"], ParseJson(text, card));
  }
  return json;
}

void PrintRow(std::string_view name, const std::string& value) { Print("{:<21} {}\n", name, value); }

std::string ValueText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A model that was trained beside this one: what it is and its held-out loss, in one row.
void PrintTwin(const Json& twin) {
  const auto text = [&](const char* key) { return twin.contains(key) ? ValueText(twin[key]) : std::string("?"); };
  PrintRow("twin", fmt::format("{}: validation loss {}", text("feed_forward"), text("validation_loss")));
}

// The card as it stands in training.json; a nested object is shown as "outer inner". The run's options, some fifty, are
// left to --json.
void PrintCard(const Json& card, const std::string& prefix) {
  for (const auto& [key, value] : card.items()) {
    if (key == "options") continue;
    std::string name = prefix + key;
    std::replace(name.begin(), name.end(), '_', ' ');
    if (value.is_object()) {
      PrintCard(value, name + " ");
    } else if (value.is_array() && !value.empty() && value.front().is_object()) {
      for (const Json& item : value) PrintTwin(item);
    } else {
      PrintRow(name, ValueText(value));
    }
  }
}

void PrintMachine(const Json& info) {
  PrintRow("version", ValueText(info["version"]));
  PrintRow("CPU", ValueText(info["cpu"]));
  PrintRow("threads", ValueText(info["threads"]));
  for (const auto& [name, value] : info["targets"].items()) {
    PrintRow(
        name + (value.is_array() ? " targets" : " target"),
        value.is_array() ? fmt::format("{}", fmt::join(value.get<std::vector<std::string>>(), " ")) : ValueText(value));
  }
  PrintRow("oneDNN", ValueText(info["onednn"]));
}

void PrintModel(const Json& info) {
  const Json& feed_forward = info["feed_forward"];
  PrintRow("model", ValueText(info["model"]));
  PrintRow("head", ValueText(info["head"]));
  PrintRow("layers", ValueText(info["layers"]));
  PrintRow("width", fmt::format("{}, {} attention heads", ValueText(info["width"]), ValueText(info["heads"])));
  PrintRow("feedforward", ValueText(feed_forward["description"]));
  PrintRow(feed_forward.contains("layers") ? "neurons of all layers" : "neurons per layer",
           fmt::format("{} stored, {} active for a token", CountText(feed_forward["stored_neurons"].get<int64_t>()),
                       CountText(feed_forward["active_neurons"].get<int64_t>())));
  PrintRow("parameters", CountText(info["parameters"].get<int64_t>()));
  PrintRow("precision", ValueText(info["precision"]));
  PrintRow("vocabulary", CountText(info["vocabulary"].get<int64_t>()));
  PrintRow("longest input", ValueText(info["max_length"]) + " tokens");
  PrintRow("file size", BytesText(info["file_bytes"].get<uint64_t>()));
  if (info.contains("training")) {
    Print("\nTraining (training.json)\n");
    PrintCard(info["training"], "");
  }
}

class InfoVerb : public Verb {
 public:
  InfoVerb()
      : Verb({.name = "info",
              .summary = "Show this build and the machine's instruction sets, or describe a model",
              .example = "grove info\ngrove info --model models/small-leaf-tree --json"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--model", model_, "Model directory to describe")->type_name("DIR");
  }

  Status Run(const CommonOptions& common) override {
    Json info = MachineInfo(common);
    if (!model_.empty()) {
      GROVE_ASSIGN_OR_RETURN(info, ModelInfo(model_));
    }
    if (common.json) {
      PrintJson(info);
    } else {
      model_.empty() ? PrintMachine(info) : PrintModel(info);
    }
    return Ok{};
  }

 private:
  std::string model_;
};

}  // namespace

std::unique_ptr<Verb> MakeInfoVerb() { return std::make_unique<InfoVerb>(); }

}  // namespace grove::cli
