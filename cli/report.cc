// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train report`: logs of runs to one HTML page.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/verbs.h"
#include "grove/io/files.h"
#include "grove/train/report_page.h"

namespace grove::cli {
namespace {

template <class T>
std::string OrDash(const std::optional<T>& value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "-";
}

class ReportVerb final : public Verb {
 public:
  ReportVerb()
      : Verb({.name = "report",
              .summary = "Compare runs, finished or not, on one HTML page: losses, speed, routing, options that differ",
              .example = "grove-train report runs/tree runs/dense runs/none --output report.html"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("runs", runs_, "Output folders of runs, or their log.jsonl")->required()->type_name("RUN");
    app.add_option("--output", output_, "File for the page")->capture_default_str()->type_name("FILE");
  }

  Status Run(const CommonOptions& common) override {
    std::vector<train::RunHistory> runs;
    for (const std::string& path : runs_) {
      GROVE_RETURN_IF_ERROR(CheckKeepsInput(output_, path, "a run"));
      GROVE_ASSIGN_OR_RETURN(train::RunHistory run, train::ReadRunHistory(path));
      runs.push_back(std::move(run));
    }
    train::UniqueNames(runs);
    const std::vector<train::RunSummary> summaries = train::Summarize(runs);
    GROVE_RETURN_IF_ERROR(WriteTextFile(output_, train::ReportPage(runs, summaries)));
    if (common.json) {
      PrintJson({{"page", output_}, {"runs", train::SummaryJson(summaries)}});
      return Ok{};
    }
    PrintText(TextTable(summaries));
    Print("\n{}\n", output_);
    return Ok{};
  }

 private:
  static std::string TextTable(const std::vector<train::RunSummary>& summaries) {
    Table table({{"run"},
                 {"feedforward"},
                 {"tokens", Align::kRight},
                 {"time", Align::kRight},
                 {"loss", Align::kRight},
                 {"validation loss", Align::kRight},
                 {"recovered", Align::kRight}});
    for (const train::RunSummary& run : summaries) {
      const auto percent = run.recovered_share ? std::optional(100 * *run.recovered_share) : std::nullopt;
      table.Add({run.name + (run.finished ? "" : " (unfinished)"), run.kind,
                 CountText(static_cast<int64_t>(run.tokens)), SecondsText(run.seconds), OrDash(run.loss, "{:.4f}"),
                 OrDash(run.validation_loss, "{:.4f}"), OrDash(percent, "{:.0f} %")});
    }
    return table.Text();
  }

  std::vector<std::string> runs_;
  std::string output_ = "report.html";
};

}  // namespace

std::unique_ptr<Verb> MakeReportVerb() { return std::make_unique<ReportVerb>(); }

}  // namespace grove::cli
