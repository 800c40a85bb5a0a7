// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove bench encoder: whole tree models and their dense twin side by side.
#include <algorithm>

#include "cli/output.h"
#include "cli/precision_flag.h"
#include "cli/verbs.h"
#include "grove/bench/encoder_bench.h"
#include "grove/kernels/target.h"

namespace grove::cli {
namespace {

using bench::EncoderBenchReport;
using bench::EncoderBenchRow;

class BenchEncoderVerb : public Verb {
 public:
  BenchEncoderVerb()
      : Verb({.name = "bench encoder",
              .summary = "Time whole encoders: trees beside their dense twin, with random weights or given models",
              .example = "grove bench encoder\ngrove bench encoder --batch 32 --ragged --threads 2 --precision bf16\n"
                         "grove bench encoder --model models/small-leaf-tree --length 64 --json"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--model", options_.models,
                   "Model directories to compare, the first is what the others are measured by (default: BERT-base's "
                   "shape with random weights, see --kinds)")
        ->type_name("DIR");
    app.add_option("--kinds", options_.kinds,
                   "Feedforward layers of the models with random weights: " +
                       fmt::format("{}", fmt::join(bench::EncoderBenchKinds(), ",")) + " (default: all but dense_128)")
        ->delimiter(',')
        ->check(CLI::IsMember(bench::EncoderBenchKinds()));
    const auto size = [&](const char* name, int64_t& value, const char* help) {
      app.add_option(name, value, help)->check(CLI::Range(int64_t{1}, int64_t{16384}))->capture_default_str();
    };
    size("--layers", options_.layers, "Layers of the models with random weights");
    size("--width", options_.width, "Their width");
    size("--heads", options_.heads, "Their attention heads");
    app.add_option("--batch", options_.batches, "Sequences in a batch (default 1,32)")
        ->delimiter(',')
        ->check(CLI::Range(size_t{1}, size_t{4096}));
    app.add_option("--length", options_.length, "Tokens in a sequence")
        ->check(CLI::Range(size_t{1}, size_t{8192}))
        ->capture_default_str();
    app.add_flag("--ragged", options_.ragged, "Lengths spread evenly from 8 to --length");
    AddPrecision(app, options_.precision);
    app.add_option("--seconds", options_.seconds, "Time for each model at each batch size")
        ->check(CLI::Range(0.001, 3600.0))
        ->capture_default_str();
  }

  Status Check() override {
    if (!options_.models.empty() || options_.width % options_.heads == 0) return Ok{};
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("--width {} must be a multiple of --heads {}", options_.width, options_.heads));
  }

  Status Run(const CommonOptions& common) override {
    options_.threads = common.threads;
    Result<EncoderBenchReport> report = Error(ErrorCode::kInvalidArgument, "");
    {
      Progress progress("bench encoder");
      report = BenchEncoders(options_, [&](double done, const std::string& what) { progress.Update(done, what); });
    }
    if (!report.ok()) return report.error();
    common.json ? PrintAsJson(report.value()) : PrintAsTable(report.value());
    return Ok{};
  }

 private:
  static void PrintAsTable(const EncoderBenchReport& report) {
    const bench::EncoderBenchOptions& options = report.options;
    for (size_t b = 0; b < options.batches.size(); ++b) {
      const auto tokens = static_cast<double>(report.tokens[b]);
      Print("{}batch {}, {}{} tokens\n\n", b == 0 ? "" : "\n", options.batches[b],
            options.ragged ? "lengths 8 to " + std::to_string(options.length) + ", " : "", report.tokens[b]);
      Table table({{options.models.empty() ? "kind" : "model"},
                   {"feedforward"},
                   {"precision"},
                   {"ms", Align::kRight},
                   {"10-90 %", Align::kRight},
                   {"tokens/s", Align::kRight},
                   {"speed", Align::kRight},
                   {"limit", Align::kRight},
                   {"MFLOP/token", Align::kRight},
                   {"kB/token", Align::kRight},
                   {"of roofline", Align::kRight}});
      const EncoderBenchRow& first = report.rows[0];
      for (const EncoderBenchRow& row : report.rows) {
        const bench::Timing& time = row.timings[b];
        table.Add(
            {row.name, row.feed_forward, std::string(PrecisionName(row.precision)),
             fmt::format("{:.2f}", time.median * 1e3), fmt::format("{:.2f}-{:.2f}", time.low * 1e3, time.high * 1e3),
             fmt::format("{:.0f}", tokens / time.median), fmt::format("{:.2f}x", first.timings[b].median / time.median),
             fmt::format("{:.2f}x", first.flops_per_token[b] / row.flops_per_token[b]),
             fmt::format("{:.2f}", row.flops_per_token[b] / 1e6), fmt::format("{:.0f}", row.bytes_per_token[b] / 1e3),
             fmt::format("{:.0f} %", 100 * row.roofline_share[b])});
      }
      PrintText(table.Text());
    }
    Print(
        "\n{} thread{}, target {}, length {}. Medians of interleaved rounds with new tokens each; tokens without "
        "padding.\n\"speed\": against the first row; \"limit\": what the arithmetic alone would allow. \"roofline\": "
        "{:.0f} GFLOP/s and\n{:.1f} GB/s in {}, measured in this run.\n",
        options.threads, options.threads == 1 ? "" : "s", ActiveTarget(), options.length,
        report.rows[0].ceiling.flops_per_second / 1e9, report.rows[0].ceiling.bytes_per_second / 1e9,
        PrecisionName(report.rows[0].precision));
  }

  static void PrintAsJson(const EncoderBenchReport& report) {
    const bench::EncoderBenchOptions& options = report.options;
    Json rows = Json::array();
    for (const EncoderBenchRow& row : report.rows) {
      Json timings = Json::array();
      for (size_t b = 0; b < options.batches.size(); ++b) {
        const bench::Timing& time = row.timings[b];
        timings.push_back({{"batch", options.batches[b]},
                           {"tokens", report.tokens[b]},
                           {"median_seconds", time.median},
                           {"low_seconds", time.low},
                           {"high_seconds", time.high},
                           {"rounds", time.rounds},
                           {"tokens_per_second", static_cast<double>(report.tokens[b]) / time.median},
                           {"speed_up", report.rows[0].timings[b].median / time.median},
                           {"flops_per_token", row.flops_per_token[b]},
                           {"bytes_per_token", row.bytes_per_token[b]},
                           {"roofline_share", row.roofline_share[b]}});
      }
      rows.push_back({{"model", row.name},
                      {"feed_forward", row.feed_forward},
                      {"precision", PrecisionName(row.precision)},
                      {"weight_bytes", row.weight_bytes},
                      {"timings", timings}});
    }
    PrintJson({{"precision", PrecisionName(report.rows[0].precision)},
               {"threads", options.threads},
               {"target", ActiveTarget()},
               {"length", options.length},
               {"ragged", options.ragged},
               {"ceiling",
                {{"flops_per_second", report.rows[0].ceiling.flops_per_second},
                 {"bytes_per_second", report.rows[0].ceiling.bytes_per_second}}},
               {"models", rows}});
  }

  bench::EncoderBenchOptions options_;
};

}  // namespace

std::unique_ptr<Verb> MakeBenchEncoderVerb() { return std::make_unique<BenchEncoderVerb>(); }

}  // namespace grove::cli
