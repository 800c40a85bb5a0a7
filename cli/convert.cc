// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train convert`: a trained model with dense layers to one with leaf trees of the same neurons.
#include "grove/train/convert.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/option_flags.h"
#include "cli/output.h"
#include "cli/stop_request.h"
#include "cli/training_progress.h"
#include "cli/verbs.h"

namespace grove::cli {
namespace {

class ConvertVerb final : public Verb {
 public:
  ConvertVerb()
      : Verb({.name = "convert",
              .summary = "Replace the dense feedforward layers of a trained model by leaf trees of their own neurons",
              .example =
                  "grove-train convert --model dense --data packed --leaves 32 --paths 8 --output tree\n"
                  "grove-train convert --model my-bert --text reviews.txt --leaves 32 --paths 16 --output tree"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--config", config_, "JSON file of options; what the command line names comes on top");
    flags_.Declare(app, train::ConvertOptionList(options_));
    app.add_flag("--overwrite", context_.overwrite, "Replace the model that is in --output");
  }

  Status Check() override {
    train::ConvertOptions options;
    GROVE_RETURN_IF_ERROR(flags_.Apply(train::ConvertOptionList(options)));
    return config_.empty() ? train::CheckConvertOptions(options) : Ok{};
  }

  Status Run(const CommonOptions& common) override {
    if (!config_.empty()) {
      GROVE_RETURN_IF_ERROR(train::ReadOptionsFile(config_, train::ConvertOptionList(options_), "convert"));
    }
    GROVE_RETURN_IF_ERROR(flags_.Apply(train::ConvertOptionList(options_)));
    context_.threads = common.threads;
    context_.stop = StopRequest::Pending;
    std::optional<Result<train::ConvertSummary>> result;
    {
      const StopRequest stop;
      TrainingProgress observer("convert");
      context_.observer = &observer;
      result = train::Convert(options_, context_);
    }
    if (!result->ok()) return result->error();
    if (!result->value().finished) StopRequest::RaiseAgain();
    Report(common, Json::parse(result->value().report));
    return Ok{};
  }

 private:
  static std::string Percent(const Json& from, const char* key) {
    return from.contains(key) ? fmt::format("{:.1f} %", 100 * from[key].get<double>()) : "";
  }
  static std::string Number(const Json& from, const char* key, int digits) {
    return from.contains(key) ? fmt::format("{:.{}f}", from[key].get<double>(), digits) : "";
  }

  void Report(const CommonOptions& common, const Json& report) const {
    if (common.json) return PrintJson(report);
    Print("{}: {} (was {})\n", options_.output, report["feed_forward"].get<std::string>(),
          report["was"].get<std::string>());
    Table layers({{"layer", Align::kRight},
                  {"activation mass", Align::kRight},
                  {"output error", Align::kRight},
                  {"healed", Align::kRight}});
    size_t number = 0;
    for (const Json& layer : report["layers"]) {
      layers.Add({std::to_string(++number), Percent(layer, "mass_reached"), Percent(layer, "error_converted"),
                  Percent(layer, "error_healed")});
    }
    PrintText(layers.Text());
    Table models({{"held-out text"},
                  {"loss", Align::kRight},
                  {"KL to the original", Align::kRight},
                  {"same answer", Align::kRight},
                  {"cosine", Align::kRight}});
    models.Add({"original", Number(report["converted"], "reference_loss", 3), "", "", ""});
    for (const char* stage : {"converted", "healed"}) {
      if (!report.contains(stage)) continue;
      const Json& at = report[stage];
      models.Add({stage, Number(at, "loss", 3), Number(at, "kl", 4), Percent(at, "agreement"),
                  Number(at, "hidden_cosine", 4)});
    }
    PrintText(models.Text());
  }

  std::string config_;
  train::ConvertOptions options_;
  train::PretrainContext context_;
  OptionFlags flags_;
};

}  // namespace

std::unique_ptr<Verb> MakeConvertVerb() { return std::make_unique<ConvertVerb>(); }

}  // namespace grove::cli
