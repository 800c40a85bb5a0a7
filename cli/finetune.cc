// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train finetune`: a pretrained model and labelled rows to a model of a task.
#include "grove/train/finetune.h"

#include <fmt/ranges.h>  // join

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/option_flags.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace grove::cli {
namespace {

class FinetuneProgress final : public train::FinetuneObserver {
 public:
  void Notice(const std::string& sentence) override { fmt::print(stderr, "grove-train finetune: {}\n", sentence); }
  void Report(const train::FinetuneReport& report) override {
    std::string note = report.runs > 1 ? fmt::format("run {} of {}, ", report.run + 1, report.runs) : "";
    note += fmt::format("epoch {} of {}, loss {:.3f}", std::min(report.epoch + 1, report.epochs), report.epochs,
                        report.loss);
    if (report.score) note += fmt::format(", score {:.1f}", 100 * *report.score);
    progress_.Update(report.fraction, note);
  }

 private:
  Progress progress_{"finetune"};
};

class FinetuneVerb final : public Verb {
 public:
  FinetuneVerb()
      : Verb({.name = "finetune",
              .summary = "Train a pretrained model for a task: a GLUE task by name, or labelled rows of your own",
              .example = "grove-train finetune --model model --task SST-2 --data glue_data/SST-2 --output sst2 "
                         "--seeds 5\n"
                         "grove-train finetune --model model --train train.tsv --dev dev.tsv --output mine "
                         "--text-column review --label-column stars\n"
                         "grove-train finetune --model model --train train.jsonl --dev dev.jsonl --kind tokens "
                         "--output names"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--config", config_, "JSON file of options; what the command line names comes on top");
    flags_.Declare(app, train::FinetuneOptionList(options_));
    app.add_flag("--overwrite", context_.overwrite, "Replace the model that is in --output");
  }

  // What stands in a configuration file is read, and fails, in Run().
  Status Check() override {
    train::FinetuneOptions options;
    GROVE_RETURN_IF_ERROR(flags_.Apply(train::FinetuneOptionList(options)));
    return config_.empty() ? train::CheckOptions(options) : Ok{};
  }

  Status Run(const CommonOptions& common) override {
    const train::OptionList list = train::FinetuneOptionList(options_);
    if (!config_.empty()) GROVE_RETURN_IF_ERROR(train::ReadOptionsFile(config_, list, "finetune"));
    GROVE_RETURN_IF_ERROR(flags_.Apply(list));
    context_.threads = common.threads;
    std::optional<Result<std::string>> card;
    {
      FinetuneProgress progress;
      context_.observer = &progress;
      card = train::Finetune(options_, context_);
    }
    if (!card->ok()) return card->error();
    const Json json = Json::parse(card->value());
    common.json ? PrintJson(json) : PrintCard(json);
    return Ok{};
  }

 private:
  void PrintCard(const Json& card) const {
    Print("{}: {}, score {:.1f}", options_.output, card["task"].get<std::string>(), 100 * card["score"].get<double>());
    if (options_.seeds > 1) {
      std::vector<std::string> scores;
      for (const Json& score : card["scores"]) scores.push_back(fmt::format("{:.1f}", 100 * score.get<double>()));
      Print(", the median of {}", fmt::join(scores, ", "));
    }
    Print("\n");
    for (const auto& [name, value] : card["metrics"].items()) Print("  {} {:.1f}\n", name, 100 * value.get<double>());
    if (options_.seeds > 1) {
      Print("  saved: the model of seed {}, score {:.1f}\n", card["saved_seed"].get<int64_t>(),
            100 * card["saved_score"].get<double>());
    }
    Print("  {} rows, {} on {}\n", CountText(card["train"]["rows"].get<int64_t>()),
          SecondsText(card["seconds"].get<double>()), card["device"].get<std::string>());
  }

  std::string config_;
  train::FinetuneOptions options_;
  train::FinetuneContext context_;
  OptionFlags flags_;
};

}  // namespace

std::unique_ptr<Verb> MakeFinetuneVerb() { return std::make_unique<FinetuneVerb>(); }

}  // namespace grove::cli
