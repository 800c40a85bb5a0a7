// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train pretrain`: packed text to a model directory.
#include "grove/train/pretrain.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "cli/verbs.h"

namespace grove::cli {
namespace {

std::atomic<int> stop_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);  // a signal handler may store it

// While it lives, Ctrl-C and termination ask the run to end with a checkpoint; a second signal ends it at once.
class StopRequest {
 public:
  StopRequest() {
    for (size_t i = 0; i < 2; ++i) {
      previous_[i] = std::signal(kSignals[i], [](int signal) {
        stop_signal = signal;
        std::signal(signal, SIG_DFL);
      });
      if (previous_[i] == SIG_IGN) std::signal(kSignals[i], SIG_IGN);
    }
  }
  ~StopRequest() {
    for (size_t i = 0; i < 2; ++i) std::signal(kSignals[i], previous_[i]);
  }
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

 private:
  static constexpr int kSignals[2] = {SIGINT, SIGTERM};
  void (*previous_[2])(int);
};

class ProgressObserver final : public train::PretrainObserver {
 public:
  void Notice(const std::string& sentence) override { fmt::print(stderr, "grove-train pretrain: {}\n", sentence); }
  void Report(const train::TrainingReport& report) override {
    if (report.tokens_per_second > 0) speed_ = report.tokens_per_second;
    std::string note = fmt::format("step {}, loss {:.3f}", CountText(report.progress.step), report.loss);
    if (report.validation_loss) note += fmt::format(", validation {:.3f}", *report.validation_loss);
    progress_.Update(report.fraction, fmt::format("{}, {} tokens/s", note, CountText(static_cast<int64_t>(speed_))));
  }

 private:
  Progress progress_{"pretrain"};
  double speed_ = 0;
};

class PretrainVerb final : public Verb {
 public:
  PretrainVerb()
      : Verb({.name = "pretrain",
              .summary = "Train a masked-word encoder on packed text; the result is a model directory",
              .example = "grove-train pretrain --data packed --output model --minutes 1 --layers 2 --width 128\n"
                         "grove-train pretrain --config configs/demo-leaf-tree.json --data packed --output model\n"
                         "grove-train pretrain --config configs/demo-leaf-tree.json --data packed --output model "
                         "--resume"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--config", config_, "JSON file of options; what the command line names comes on top");
    const train::PretrainOptions defaults;
    for (const train::OptionField& field : train::PretrainFields()) {
      if (std::string_view(field.name) == "about") continue;
      DeclareOption(app, field, train::OptionText(defaults, field));
    }
    app.add_flag("--resume", context_.resume, "Go on from the newest checkpoint in --output");
    app.add_flag("--overwrite", context_.overwrite, "Delete the run or model that is in --output");
  }

  // Values that are no values are usage errors; what stands in a configuration file is read, and fails, in Run().
  Status Check() override {
    train::PretrainOptions options;
    GROVE_RETURN_IF_ERROR(ApplyFlags(options));
    return config_.empty() ? train::CheckOptions(options) : Ok{};
  }

  Status Run(const CommonOptions& common) override {
    if (!config_.empty()) GROVE_RETURN_IF_ERROR(train::ReadOptionsFile(config_, options_));
    GROVE_RETURN_IF_ERROR(ApplyFlags(options_));
    context_.threads = common.threads;
    context_.stop = [] { return stop_signal != 0; };
    std::optional<Result<train::PretrainSummary>> result;
    {
      const StopRequest stop;
      ProgressObserver observer;
      context_.observer = &observer;
      result = train::Pretrain(options_, context_);
    }
    if (!result->ok()) return result->error();
    const train::PretrainSummary& summary = result->value();
    if (!summary.finished) {
      fmt::print(stderr, "grove-train pretrain: checkpoint of step {} written; go on with --resume\n",
                 summary.progress.step);
      std::raise(stop_signal);  // the framework's handler: its word and exit code
    }
    Report(common, summary);
    return Ok{};
  }

 private:
  void DeclareOption(CLI::App& app, const train::OptionField& field, const std::string& standard) {
    const auto keep = [this, &field](const std::string& text) { given_.emplace_back(&field, text); };
    CLI::Option* option = app.add_option_function<std::string>(train::FlagName(field), keep, field.help);
    option->type_name(TypeName(field));
    if (!standard.empty()) option->default_str(standard);
  }

  static bool IsBudget(const train::OptionField& field) {
    const std::string_view name = field.name;
    return name == "minutes" || name == "steps" || name == "tokens";
  }

  // A budget on the command line replaces the configuration file's, of whatever kind.
  Status ApplyFlags(train::PretrainOptions& options) const {
    if (std::any_of(given_.begin(), given_.end(), [](const auto& flag) { return IsBudget(*flag.first); })) {
      options.minutes = 0;
      options.steps = options.tokens = 0;
    }
    for (const auto& [field, text] : given_) {
      GROVE_RETURN_IF_ERROR(train::SetOption(options, *field, text, train::FlagName(*field)));
    }
    return Ok{};
  }

  static std::string TypeName(const train::OptionField& field) {
    if (std::holds_alternative<bool train::PretrainOptions::*>(field.member)) return "true|false";
    if (std::holds_alternative<int64_t train::PretrainOptions::*>(field.member)) return "INT";
    if (std::holds_alternative<double train::PretrainOptions::*>(field.member)) return "FLOAT";
    std::string choices = *field.choices == '\0' ? "TEXT" : field.choices;
    std::replace(choices.begin(), choices.end(), ' ', '|');
    return choices;
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
  std::vector<std::pair<const train::OptionField*, std::string>> given_;
};

}  // namespace

std::unique_ptr<Verb> MakePretrainVerb() { return std::make_unique<PretrainVerb>(); }

}  // namespace grove::cli
