// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train pretrain`: packed text to a model directory.
#include "grove/train/pretrain.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/option_flags.h"
#include "cli/output.h"
#include "cli/stop_request.h"
#include "cli/training_job.h"
#include "cli/training_progress.h"
#include "cli/verbs.h"

namespace grove::cli {
namespace {

class PretrainVerb final : public Verb {
 public:
  PretrainVerb()
      : Verb({.name = "pretrain",
              .summary = "Train a masked-word encoder on packed text; the result is a model directory",
              .example = "grove-train pretrain --data packed --output model --minutes 1 --layers 2 --width 128\n"
                         "grove-train pretrain --config configs/demo-leaf-tree.json --data packed --output model\n"
                         "grove-train pretrain --config configs/demo-leaf-tree.json --data packed --output model "
                         "--resume\n"
                         "grove-train pretrain --config configs/ultrafastbert-1x11.json --data packed --dry-run\n"
                         "torchrun --no-python --nproc-per-node 8 grove-train pretrain --config "
                         "configs/ultrafastbert-1x11.json --data packed --output model"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--config", config_, "JSON file of options; what the command line names comes on top");
    flags_.Declare(app, train::PretrainOptionList(options_));
    app.add_flag("--resume", context_.resume, "Go on from the newest checkpoint in --output");
    app.add_flag("--overwrite", context_.overwrite, "Delete the run or model that is in --output");
    app.add_flag("--dry-run", context_.dry_run, "Take one step and tell what a full run needs; write nothing");
  }

  // Values that are no values are usage errors; what stands in a configuration file is read, and fails, in Run().
  Status Check() override {
    train::PretrainOptions options;
    GROVE_RETURN_IF_ERROR(ApplyFlags(options));
    GROVE_RETURN_IF_ERROR(CheckShapeFlags(options));
    return config_.empty() ? train::CheckOptions(options, !context_.dry_run) : Ok{};
  }

  Status Run(const CommonOptions& common) override {
    if (!config_.empty())
      GROVE_RETURN_IF_ERROR(train::ReadOptionsFile(config_, train::PretrainOptionList(options_), "pretrain"));
    GROVE_RETURN_IF_ERROR(ApplyFlags(options_));
    GROVE_RETURN_IF_ERROR(PrepareContext(info().name, common, &context_));
    std::optional<Result<train::PretrainSummary>> result;
    {
      const StopRequest stop;
      TrainingProgress observer("pretrain");
      context_.observer = &observer;
      result = train::Pretrain(options_, context_);
    }
    if (!result->ok()) return result->error();
    const train::PretrainSummary& summary = result->value();
    const bool speaks = context_.world.rank == 0;
    if (summary.dry_run) {
      if (speaks) ReportDryRun(common, *summary.dry_run);
      return Ok{};
    }
    if (!summary.finished) {
      if (speaks) {
        fmt::print(stderr,
                   "grove-train pretrain: checkpoint of step {} written; go on with the same command and --resume\n",
                   summary.progress.step);
      }
      StopRequest::RaiseAgain();
      return Ok{};  // the signal went to another process of the job
    }
    if (speaks) Report(common, summary);
    return Ok{};
  }

 private:
  // With --start-from the shape is that of the model named.
  Status CheckShapeFlags(train::PretrainOptions& options) const {
    if (options.start_from.empty()) return Ok{};
    train::OptionList shape;
    train::AddModelOptions(options, shape);
    shape.push_back(*train::FindOption(train::PretrainOptionList(options), "init"));
    for (const train::Option& option : shape) {
      if (option.name == "length" || !flags_.Given(option.name)) continue;
      return Error(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "{} cannot be given with --start-from, whose model has its shape and weights; leave one of them out",
              train::FlagName(option)));
    }
    return Ok{};
  }

  // A budget on the command line replaces the configuration file's, of whatever kind.
  Status ApplyFlags(train::PretrainOptions& options) const {
    if (flags_.Given("minutes") || flags_.Given("steps") || flags_.Given("tokens")) {
      options.minutes = 0;
      options.steps = options.tokens = 0;
    }
    return flags_.Apply(train::PretrainOptionList(options));
  }

  void Report(const CommonOptions& common, const train::PretrainSummary& summary) const {
    const Json card = Json::parse(summary.card);
    if (common.json) return PrintJson(card);
    Print("{}: {}, {} parameters\n", options_.output, card["feed_forward"].get<std::string>(),
          CountText(card["parameters"].get<int64_t>()));
    Print("  {} tokens in {} steps, {} on {}\n", CountText(summary.progress.tokens), CountText(summary.progress.step),
          SecondsText(summary.progress.seconds), card["device"].get<std::string>());
    Print("  validation loss {:.3f}", summary.validation_loss.value_or(0));
    if (card["data"].contains("unigram_entropy")) {
      Print(" (guessing by word frequency alone: {:.3f})", card["data"]["unigram_entropy"].get<double>());
    }
    Print("\n");
  }

  std::string config_;
  train::PretrainOptions options_;
  train::PretrainContext context_;
  OptionFlags flags_;
};

}  // namespace

std::unique_ptr<Verb> MakePretrainVerb() { return std::make_unique<PretrainVerb>(); }

}  // namespace grove::cli
