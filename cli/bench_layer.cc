// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove bench layer: tree layers and dense layers side by side.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

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
                  "1,16384 --threads 1 --json\ngrove bench layer --precision int8 --threads 1\n"
                  "grove bench layer --model models/small-leaf-tree --text README.md --tokens 1,128,2048\n"
                  "grove bench layer --width 12288 --trees 1 --depth 15 --precision bf16 --tokens 1,128\n"
                  "grove bench layer --forms --no-dense --threads 1 --tokens 1,4,8,16,32,64,256,1024"}) {}

  void Declare(CLI::App& app) override {
    CLI::Option* width = app.add_option("--width", options_.width, "Width of the layers (default 768, the paper's)")
                             ->check(CLI::Range(size_t{1}, size_t{16384}));
    app.add_option("--tokens", options_.token_counts, "Batch sizes in tokens (default 1,128,4096)")
        ->delimiter(',')
        ->check(CLI::Range(size_t{1}, size_t{1} << 20));
    std::vector<std::string> kinds = bench::LayerBenchKinds();
    kinds.push_back("all");
    CLI::Option* of_kinds = app.add_option("--kinds", options_.kinds,
                                           "Which layers stand beside the dense ones, all of a kind: " +
                                               fmt::format("{}", fmt::join(kinds, ",")) +
                                               " (default: neuron trees 1x11 and 16x7, leaf trees of 1 and 4 paths)")
                                ->delimiter(',')
                                ->check(CLI::IsMember(kinds));
    depth_ = app.add_option("--depth", shape_.depth,
                            "Neuron trees of this depth in place of --kinds, beside dense layers of 4 x width neurons")
                 ->check(CLI::Range(size_t{0}, size_t{20}))
                 ->excludes(of_kinds);
    app.add_option("--trees", shape_.trees, "How many of them (default 1)")
        ->check(CLI::Range(size_t{1}, size_t{4096}))
        ->needs(depth_);
    CLI::Option* model =
        app.add_option(
               "--model", model_.model,
               "Model directory: one of its layers in place of --kinds, on the hidden states that enter it when "
               "the model reads --text, beside dense layers as wide as its stored and its active neurons")
            ->type_name("DIR")
            ->excludes(of_kinds)
            ->excludes(depth_)
            ->excludes(width);
    app.add_option("--layer", model_.layer, "Which layer of the model, counted from 0 (default: the middle one)")
        ->needs(model);
    CLI::Option* texts = app.add_option("--text", model_.texts, "Text for the model: files or folders, plain or .zst")
                             ->type_name("PATH")
                             ->needs(model);
    model->needs(texts);
    app.add_flag("--forms", options_.forms,
                 "Neuron trees of fp32 also in each form that the number of tokens chooses from, as rows of their own")
        ->excludes(model);
    app.add_flag("--no-dense", no_dense_,
                 "No dense layers: quick where there are many --tokens; caches are emptied before each turn instead")
        ->excludes(model);
    app.add_option("--precision", precision_, "fp32 (default), bf16 or int8: of weights and inputs, on both sides")
        ->check(CLI::IsMember({"fp32", "bf16", "int8"}));
    app.add_option("--seconds", options_.seconds, "Time for each layer at each batch size (default 1)")
        ->check(CLI::Range(0.001, 3600.0));
  }

  Status Run(const CommonOptions& common) override {
    options_.threads = common.threads;
    options_.dense = !no_dense_;
    if (precision_ != "fp32") options_.precision = precision_ == "bf16" ? Quantization::kBf16 : Quantization::kInt8;
    if (std::find(options_.kinds.begin(), options_.kinds.end(), "all") != options_.kinds.end()) {
      options_.kinds = bench::LayerBenchKinds();
    }
    if (depth_->count() > 0) options_.shape = shape_;
    if (!model_.model.empty()) {
      GROVE_ASSIGN_OR_RETURN(options_.model_layer, ReadLayer());
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
  Result<std::shared_ptr<const bench::ModelLayer>> ReadLayer() {
    model_.precision = options_.precision;
    model_.threads = options_.threads;
    model_.at_least = *std::max_element(options_.token_counts.begin(), options_.token_counts.end());
    model_.tokens = std::max(model_.tokens, model_.at_least);
    GROVE_ASSIGN_OR_RETURN(bench::ModelLayer layer, ReadModelLayer(model_));
    return {std::make_shared<const bench::ModelLayer>(std::move(layer))};
  }

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
      if (report.HasRivals()) columns.push_back({"vs dense", Align::kRight});
      columns.push_back({"roof", Align::kRight});
    }
    columns.push_back({"limit", Align::kRight});
    columns.push_back({"error", Align::kRight});
    Table table(columns);
    const double dense_flops = 4.0 * static_cast<double>(options.width * report.full);
    for (const LayerBenchRow& row : report.rows) {
      std::vector<std::string> cells = {
          row.name, CountText(static_cast<int64_t>(row.stored)),
          row.decisions == 0 ? std::to_string(row.active) : fmt::format("{}+{}", row.active, row.decisions)};
      for (size_t c = 0; c < options.token_counts.size(); ++c) {
        const double us = MicrosecondsPerToken(report, row, c);
        cells.push_back(fmt::format("{:.{}f} us", us, us < 10 ? 2 : 1));
        cells.push_back(fmt::format("{:.0f}%", 100 * Spread(row.timings[c])));
        if (report.HasRivals()) cells.push_back(fmt::format("{:.1f}x", report.DenseSecondsPerToken(c) * 1e6 / us));
        cells.push_back(fmt::format("{:.0f}%", 100 * report.ShareOfRoofline(row, c)));
      }
      cells.push_back(fmt::format("{:.1f}x", dense_flops / row.flops_per_token));
      cells.push_back(fmt::format("{:.0e}", row.error));
      table.Add(std::move(cells));
    }
    PrintText(table.Text());
    PrintLegend(report);
  }

  static void PrintLegend(const LayerBenchReport& report) {
    const bench::LayerBenchOptions& options = report.options;
    const bench::ModelLayer* model = options.model_layer.get();
    Print("\n{}, width {}, {} thread{}, target {}, {:.0f} GFLOP/s and {:.1f} GB/s measured in this run.\n",
          PrecisionText(options), options.width, options.threads, options.threads == 1 ? "" : "s", ActiveTarget(),
          report.ceiling.flops_per_second / 1e9, report.ceiling.bytes_per_second / 1e9);
    if (model) {
      Print(
          "Layer {} of {}, on {} hidden states that enter it. A token takes {} of {} paths:\n  trained {}\n  random  "
          "{}\n",
          model->number, model->model, model->x.size() / model->width, model->visits.per_token, model->visits.paths,
          VisitsText(model->visits), VisitsText(model->untrained_visits));
    }
    const std::string dense =
        !model && !options.shape ? "dense 3072 and 4096, scaled to 4096 neurons" : fmt::format("dense {}", report.full);
    Print(
        "Time is the median of one token's share of a batch, sides interleaved, every token {}; \"+-\": half the\n"
        "way from the 10th to the 90th percentile. {}. \"roof\": the least\n"
        "time that those GFLOP/s and GB/s allow over the time taken. \"limit\": what arithmetic alone would allow. "
        "\"active\" counts\nneurons + products of routing. \"error\": largest difference from the reference over its "
        "largest value, on tokens of this run.\n",
        model ? "another" : "a different random input",
        report.HasRivals() ? "\"vs dense\": the best of " + dense
        : options.dense    ? "No dense layer has this precision on this machine"
                           : "Caches are emptied before each turn");
  }

  static std::string VisitsText(const bench::PathVisits& visits) {
    return fmt::format(
        "{:.1f} % of the tokens take the most visited path, {:.0f} % of the paths are never taken, entropy "
        "{:.2f} of {:.2f} bits",
        100 * visits.most_visited, 100 * visits.never, visits.entropy_bits,
        std::log2(static_cast<double>(visits.paths)));
  }

  static Json VisitsJson(const bench::PathVisits& visits) {
    return {{"paths", visits.paths},
            {"per_token", visits.per_token},
            {"most_visited", visits.most_visited},
            {"never", visits.never},
            {"entropy_bits", visits.entropy_bits}};
  }

  static void PrintAsJson(const LayerBenchReport& report) {
    Json rows = Json::array();
    for (const LayerBenchRow& row : report.rows) {
      Json timings = Json::array();
      for (size_t c = 0; c < row.timings.size(); ++c) {
        const double us = MicrosecondsPerToken(report, row, c);
        timings.push_back(
            {{"tokens", report.options.token_counts[c]},
             {"us_per_token", us},
             {"low_seconds", row.timings[c].low},
             {"median_seconds", row.timings[c].median},
             {"high_seconds", row.timings[c].high},
             {"rounds", row.timings[c].rounds},
             {"bytes_per_token", row.bytes_per_token[c]},
             {"share_of_roofline", report.ShareOfRoofline(row, c)},
             {"speed_up", report.HasRivals() ? Json(report.DenseSecondsPerToken(c) * 1e6 / us) : Json(nullptr)}});
      }
      rows.push_back({{"layer", row.name},
                      {"dense", row.dense},
                      {"rival", row.rival},
                      {"stored_neurons", row.stored},
                      {"active_neurons", row.active},
                      {"decisions", row.decisions},
                      {"weight_bytes", row.weight_bytes},
                      {"flops_per_token", row.flops_per_token},
                      {"relative_error", row.error},
                      {"timings", timings}});
    }
    Json json = {{"width", report.options.width},
                 {"threads", report.options.threads},
                 {"target", ActiveTarget()},
                 {"precision", PrecisionText(report.options)},
                 {"ceiling",
                  {{"flops_per_second", report.ceiling.flops_per_second},
                   {"bytes_per_second", report.ceiling.bytes_per_second}}},
                 {"dense_neurons", report.full},
                 {"layers", rows}};
    if (const bench::ModelLayer* model = report.options.model_layer.get()) {
      json["model"] = {{"path", model->model},
                       {"layer", model->number},
                       {"tokens", model->x.size() / model->width},
                       {"visits", VisitsJson(model->visits)},
                       {"visits_of_random_weights", VisitsJson(model->untrained_visits)}};
    }
    PrintJson(json);
  }

  bench::LayerBenchOptions options_;
  bench::ModelLayerOptions model_;
  bench::TreesAndDepth shape_;
  CLI::Option* depth_ = nullptr;
  std::string precision_ = "fp32";
  bool no_dense_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeBenchLayerVerb() { return std::make_unique<BenchLayerVerb>(); }

}  // namespace grove::cli
