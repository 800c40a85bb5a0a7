// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train distil`: a teacher and packed text to a student's model directory.
#include "grove/train/distil.h"

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

class DistilVerb final : public Verb {
 public:
  DistilVerb()
      : Verb({.name = "distil",
              .summary = "Train a student that answers as a teacher does, on packed text",
              .example =
                  "grove-train distil --teacher bert --config configs/demo-leaf-tree.json --data packed "
                  "--output student\n"
                  "grove-train distil --teacher big --student small --data packed --output better --steps 1000"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--config", config_, "JSON file of options; what the command line names comes on top");
    flags_.Declare(app, train::DistilOptionList(options_));
    app.add_flag("--resume", context_.resume, "Go on from the newest checkpoint in --output");
    app.add_flag("--overwrite", context_.overwrite, "Delete the run or model that is in --output");
  }

  Status Check() override {
    train::DistilOptions options;
    GROVE_RETURN_IF_ERROR(ApplyFlags(options));
    GROVE_RETURN_IF_ERROR(CheckStudentFlags());
    return config_.empty() ? train::CheckDistilOptions(options) : Ok{};
  }

  Status Run(const CommonOptions& common) override {
    if (!config_.empty()) {
      GROVE_RETURN_IF_ERROR(train::ReadOptionsFile(config_, train::DistilOptionList(options_), "distil"));
    }
    GROVE_RETURN_IF_ERROR(ApplyFlags(options_));
    context_.threads = common.threads;
    context_.stop = StopRequest::Pending;
    std::optional<Result<train::PretrainSummary>> result;
    {
      const StopRequest stop;
      TrainingProgress observer("distil");
      context_.observer = &observer;
      result = train::Distil(options_, context_);
    }
    if (!result->ok()) return result->error();
    const train::PretrainSummary& summary = result->value();
    if (!summary.finished) {
      fmt::print(stderr,
                 "grove-train distil: checkpoint of step {} written; go on with the same command and --resume\n",
                 summary.progress.step);
      StopRequest::RaiseAgain();
    }
    Report(common, summary);
    return Ok{};
  }

 private:
  // A budget on the command line replaces the configuration file's, of whatever kind.
  Status ApplyFlags(train::DistilOptions& options) const {
    if (flags_.Given("minutes") || flags_.Given("steps") || flags_.Given("tokens")) {
      options.minutes = 0;
      options.steps = options.tokens = 0;
    }
    return flags_.Apply(train::DistilOptionList(options));
  }

  // Flags of the model that --student has already.
  Status CheckStudentFlags() const {
    if (!flags_.Given("student")) return Ok{};
    train::ModelOptions model;
    train::OptionList list;
    train::AddModelOptions(model, list);
    for (const train::Option& option : list) {
      if (option.name == "length" || !flags_.Given(option.name)) continue;
      return Error(ErrorCode::kInvalidArgument,
                   train::FlagName(option) + " describes a new model and --student names one; give one of them");
    }
    return Ok{};
  }

  void Report(const CommonOptions& common, const train::PretrainSummary& summary) const {
    const Json card = Json::parse(summary.card);
    if (common.json) return PrintJson(card);
    Print("{}: {}, {} parameters\n", options_.output, card["feed_forward"].get<std::string>(),
          CountText(card["parameters"].get<int64_t>()));
    Print("  {} tokens in {} steps, {} on {}\n", CountText(summary.progress.tokens), CountText(summary.progress.step),
          SecondsText(summary.progress.seconds), card["device"].get<std::string>());
    const Json& teacher = card["teacher"];
    if (teacher.contains("loss")) {
      Print("  validation loss {:.3f}; the teacher's: {:.3f}\n", teacher["loss"].get<double>(),
            teacher["reference_loss"].get<double>());
    }
    if (teacher.contains("kl")) {
      Print("  against the teacher on held-out text: KL {:.4f}, the same answer in {:.1f} %\n",
            teacher["kl"].get<double>(), 100 * teacher["agreement"].get<double>());
    }
  }

  std::string config_;
  train::DistilOptions options_;
  train::PretrainContext context_;
  OptionFlags flags_;
};

}  // namespace

std::unique_ptr<Verb> MakeDistilVerb() { return std::make_unique<DistilVerb>(); }

}  // namespace grove::cli
