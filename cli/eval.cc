// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train eval`: the GLUE table of fine-tuned models, and their answers for a submission.
#include <fmt/ranges.h>  // join

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/option_flags.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "grove/io/files.h"
#include "grove/train/evaluate.h"

namespace grove::cli {
namespace {

std::string Percent(double score) { return fmt::format("{:.1f}", 100 * score); }

class EvalVerb final : public Verb {
 public:
  EvalVerb()
      : Verb({.name = "eval",
              .summary = "Score fine-tuned models: GLUE's table, JSON, and answers in GLUE's submission format",
              .example = "grove-train eval --model runs/SST-2 runs/CoLA --glue glue_data\n"
                         "grove-train eval --model runs --output table.json --predictions submission\n"
                         "grove-train eval --model mine --data test.tsv"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--model", models_, "Fine-tuned models, or folders that hold some")->required()->type_name("DIR...");
    flags_.Declare(app, train::EvaluateOptionList(options_));
    app.add_option("--output", output_, "JSON file for the table")->type_name("FILE");
  }

  Status Check() override { return flags_.Apply(train::EvaluateOptionList(options_)); }

  Status Run(const CommonOptions& common) override {
    std::vector<std::string> notices;  // told after success: an error is the only sentence
    const auto notice = [&](const std::string& text) {
      if (std::find(notices.begin(), notices.end(), text) == notices.end()) notices.push_back(text);
    };
    GROVE_ASSIGN_OR_RETURN(const train::Evaluation evaluation,
                           train::Evaluate(models_, options_, {.threads = common.threads, .notice = notice}));
    for (const std::string& text : notices) fmt::print(stderr, "grove-train eval: {}\n", text);
    const Json json = train::EvaluationJson(evaluation);
    if (!output_.empty()) GROVE_RETURN_IF_ERROR(WriteTextFile(output_, json.dump(1) + "\n"));
    if (common.json) {
      PrintJson(json);
      return Ok{};
    }
    PrintTable(evaluation);
    for (const train::ModelScores& model : evaluation.models) {
      for (const std::string& path : model.predictions) Print("answers of {}: {}\n", model.task, path);
    }
    return Ok{};
  }

 private:
  static void PrintTable(const train::Evaluation& evaluation) {
    Table table({{"task"}, {"metric"}, {"score", Align::kRight}, {"all seeds"}, {"rows", Align::kRight}, {"model"}});
    for (const train::ModelScores& model : evaluation.models) {
      std::vector<std::string> names, values;
      for (const auto& [name, value] : model.scores.values) {
        names.push_back(name);
        values.push_back(Percent(value));
      }
      table.Add({model.task, fmt::format("{}", fmt::join(names, " / ")), fmt::format("{}", fmt::join(values, " / ")),
                 SeedsText(model.seed_scores), CountText(model.rows), model.model});
    }
    PrintText(table.Text());
    const train::GlueAverage& average = evaluation.average;
    if (!average.with_cola && !average.without_cola) return;
    Print("\n");
    if (average.without_cola) Print("average without CoLA  {}\n", Percent(*average.without_cola));
    if (average.with_cola) Print("average with CoLA     {}\n", Percent(*average.with_cola));
    if (!average.missing.empty()) {
      Print("of GLUE's eight tasks (without WNLI) {} missing: {}\n",
            average.missing.size() == 1 ? "one is" : "some are", fmt::join(average.missing, ", "));
    }
  }

  // "5: 89.1 to 90.3" where the card knows several runs.
  static std::string SeedsText(const std::vector<double>& scores) {
    if (scores.size() < 2) return "";
    const auto [low, high] = std::minmax_element(scores.begin(), scores.end());
    return fmt::format("{}: {} to {}", scores.size(), Percent(*low), Percent(*high));
  }

  std::vector<std::string> models_;
  std::string output_;
  train::EvaluateOptions options_;
  OptionFlags flags_;
};

}  // namespace

std::unique_ptr<Verb> MakeEvalVerb() { return std::make_unique<EvalVerb>(); }

}  // namespace grove::cli
