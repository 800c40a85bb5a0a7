// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove bench layer: tree layers and dense layers side by side.
#include <algorithm>

#include "cli/output.h"
#include "cli/verbs.h"
#include "grove/bench/layer_bench.h"
#include "grove/kernels/target.h"

namespace grove::cli {
namespace {

using bench::LayerBenchReport;
using bench::LayerBenchRow;

class BenchLayerVerb : public Verb {
 public:
  BenchLayerVerb()
      : Verb({.name = "bench layer",
              .summary = "Time tree layers beside dense layers, outputs checked against the reference",
              .example =
                  "grove bench layer\ngrove bench layer --kinds all\ngrove bench layer --kinds moe,leaf_tree --tokens "
                  "1,16384 --threads 1 --json\ngrove bench layer --precision int8 --threads 1"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--width", options_.width, "Width of the layers (default 768, the paper's)")
        ->check(CLI::Range(size_t{1}, size_t{16384}));
    app.add_option("--tokens", options_.token_counts, "Batch sizes in tokens (default 1,128,4096)")
        ->delimiter(',')
        ->check(CLI::Range(size_t{1}, size_t{1} << 20));
    std::vector<std::string> kinds = bench::LayerBenchKinds();
    kinds.push_back("all");
    app.add_option(
           "--kinds", options_.kinds,
           "Which layers stand beside the dense ones, all of a kind: " + fmt::format("{}", fmt::join(kinds, ",")) +
               " (default: neuron trees 1x11 and 16x7, leaf trees of 1 and 4 paths)")
        ->delimiter(',')
        ->check(CLI::IsMember(kinds));
    app.add_option("--precision", precision_, "fp32 (default), bf16 or int8: of weights and inputs, on both sides")
        ->check(CLI::IsMember({"fp32", "bf16", "int8"}));
    app.add_option("--seconds", options_.seconds, "Time for each layer at each batch size (default 1)")
        ->check(CLI::Range(0.001, 3600.0));
  }

  Status Run(const CommonOptions& common) override {
    options_.threads = common.threads;
    if (precision_ != "fp32") options_.precision = precision_ == "bf16" ? Quantization::kBf16 : Quantization::kInt8;
    if (std::find(options_.kinds.begin(), options_.kinds.end(), "all") != options_.kinds.end()) {
      options_.kinds = bench::LayerBenchKinds();
    }
    LayerBenchReport report;
    {
      Progress progress("bench layer");
      report = BenchLayers(options_, [&](double done, const std::string& what) { progress.Update(done, what); });
    }
    common.json ? PrintAsJson(report) : PrintAsTable(report);
    for (const LayerBenchRow& row : report.rows) {
      if (row.error <= row.tolerance) continue;
      return Error(ErrorCode::kCorrupt,
                   fmt::format("{} differs from the reference by {:.1e} on target {}; its times are "
                               "worthless, please report this",
                               row.name, row.error, ActiveTarget()));
    }
    return Ok{};
  }

 private:
  static double MicrosecondsPerToken(const LayerBenchReport& report, const LayerBenchRow& row, size_t c) {
    return row.timings[c].median / static_cast<double>(report.options.token_counts[c]) * 1e6;
  }

  static double Spread(const bench::Timing& timing) { return (timing.high - timing.low) / (2 * timing.median); }

  static std::string_view PrecisionText(const bench::LayerBenchOptions& options) {
    return options.precision ? QuantizationName(*options.precision) : "fp32";
  }

  static void PrintAsTable(const LayerBenchReport& report) {
    const bench::LayerBenchOptions& options = report.options;
    std::vector<Column> columns = {{"layer"}, {"stored", Align::kRight}, {"active", Align::kRight}};
    for (const size_t tokens : options.token_counts) {
      columns.push_back({fmt::format("{} token{}", tokens, tokens == 1 ? "" : "s"), Align::kRight});
      columns.push_back({"+-", Align::kRight});
      columns.push_back({"vs dense", Align::kRight});
      columns.push_back({"roof", Align::kRight});
    }
    columns.push_back({"limit", Align::kRight});
    columns.push_back({"error", Align::kRight});
    Table table(columns);
    const double dense_flops = 4.0 * static_cast<double>(options.width) * 4096;
    for (const LayerBenchRow& row : report.rows) {
      std::vector<std::string> cells = {
          row.name, CountText(static_cast<int64_t>(row.stored)),
          row.decisions == 0 ? std::to_string(row.active) : fmt::format("{}+{}", row.active, row.decisions)};
      for (size_t c = 0; c < options.token_counts.size(); ++c) {
        const double us = MicrosecondsPerToken(report, row, c);
        cells.push_back(fmt::format("{:.{}f} us", us, us < 10 ? 2 : 1));
        cells.push_back(fmt::format("{:.0f}%", 100 * Spread(row.timings[c])));
        cells.push_back(fmt::format("{:.1f}x", report.DenseSecondsPerToken(c) * 1e6 / us));
        cells.push_back(fmt::format("{:.0f}%", 100 * report.ShareOfRoofline(row, c)));
      }
      cells.push_back(fmt::format("{:.1f}x", dense_flops / row.flops_per_token));
      cells.push_back(fmt::format("{:.0e}", row.error));
      table.Add(std::move(cells));
    }
    PrintText(table.Text());
    Print(
        "\n{}, width {}, {} thread{}, target {}, {:.0f} GFLOP/s and {:.1f} GB/s measured in this run. Time is the "
        "median "
        "of one token's\nshare of a batch, sides interleaved, every token a different random input; \"+-\": half the "
        "way "
        "from the 10th to the 90th\npercentile. \"vs dense\": the best of dense 3072 and 4096, scaled to 4096 neurons. "
        "\"roof\": the least time that those GFLOP/s\nand GB/s allow over the time taken. \"limit\": what arithmetic "
        "alone would allow. \"active\" counts neurons + products of routing.\n\"error\": largest difference from the "
        "reference over its largest value, on {} tokens of this run.\n",
        PrecisionText(options), options.width, options.threads, options.threads == 1 ? "" : "s", ActiveTarget(),
        report.ceiling.flops_per_second / 1e9, report.ceiling.bytes_per_second / 1e9, options.checked_tokens);
  }

  static void PrintAsJson(const LayerBenchReport& report) {
    Json rows = Json::array();
    for (const LayerBenchRow& row : report.rows) {
      Json timings = Json::array();
      for (size_t c = 0; c < row.timings.size(); ++c) {
        const double us = MicrosecondsPerToken(report, row, c);
        timings.push_back({{"tokens", report.options.token_counts[c]},
                           {"us_per_token", us},
                           {"low_seconds", row.timings[c].low},
                           {"median_seconds", row.timings[c].median},
                           {"high_seconds", row.timings[c].high},
                           {"rounds", row.timings[c].rounds},
                           {"bytes_per_token", row.bytes_per_token[c]},
                           {"share_of_roofline", report.ShareOfRoofline(row, c)},
                           {"speed_up", report.DenseSecondsPerToken(c) * 1e6 / us}});
      }
      rows.push_back({{"layer", row.name},
                      {"dense", row.dense},
                      {"stored_neurons", row.stored},
                      {"active_neurons", row.active},
                      {"decisions", row.decisions},
                      {"weight_bytes", row.weight_bytes},
                      {"flops_per_token", row.flops_per_token},
                      {"relative_error", row.error},
                      {"timings", timings}});
    }
    PrintJson({{"width", report.options.width},
               {"threads", report.options.threads},
               {"target", ActiveTarget()},
               {"precision", PrecisionText(report.options)},
               {"ceiling",
                {{"flops_per_second", report.ceiling.flops_per_second},
                 {"bytes_per_second", report.ceiling.bytes_per_second}}},
               {"layers", rows}});
  }

  bench::LayerBenchOptions options_;
  std::string precision_ = "fp32";
};

}  // namespace

std::unique_ptr<Verb> MakeBenchLayerVerb() { return std::make_unique<BenchLayerVerb>(); }

}  // namespace grove::cli
