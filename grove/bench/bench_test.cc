// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "grove/bench/layer_bench.h"
#include "grove/bench/layer_contender.h"

namespace grove::bench {
namespace {

TEST(TimeInterleaved, RunsEveryContenderInTurn) {
  std::vector<int> order;
  const std::vector<Contender> contenders = {{[&](size_t) { order.push_back(0); }},
                                             {[&](size_t) { order.push_back(1); }}};
  const std::vector<Timing> timings = TimeInterleaved(contenders, {.seconds = 0, .min_rounds = 4, .max_rounds = 4});
  EXPECT_EQ(order, (std::vector<int>{0, 1, 0, 1, 0, 1, 0, 1, 0, 1}));  // one round to warm up, four that count
  EXPECT_EQ(timings.at(0).rounds, 4u);
  EXPECT_LE(timings.at(0).low, timings.at(0).median);
  EXPECT_LE(timings.at(0).median, timings.at(0).high);
}

TEST(TimeInterleaved, SlowContenderIsMeasuredSlow) {
  const auto sleep = [](int ms) {
    return Contender{[ms](size_t) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }};
  };
  const std::vector<Timing> timings = TimeInterleaved({sleep(1), sleep(8)}, {.seconds = 0, .min_rounds = 3});
  EXPECT_GT(timings[1].median, 2 * timings[0].median);
}

TEST(RandomWeights, HaveTheVarianceAsked) {
  const AlignedArray<float> w = RandomWeights(100000, 4, 1);
  double sum = 0, square = 0;
  for (const float v : w.span()) sum += v, square += double{v} * v;
  EXPECT_NEAR(sum / static_cast<double>(w.size()), 0, 0.005);
  EXPECT_NEAR(square / static_cast<double>(w.size()), 0.25, 0.005);
}

// Few are drawn by one thread, many by all.
TEST(RandomWeights, DependOnTheSeedAlone) {
  const AlignedArray<float> few = RandomWeights(1000, 4, 1), many = RandomWeights(size_t{3} << 20, 4, 1);
  EXPECT_TRUE(std::equal(few.span().begin(), few.span().end(), many.data()));
  EXPECT_NE(few[0], RandomWeights(1, 4, 2)[0]);
}

// Rows that are no dense layer: of those there are as many as libraries are installed.
size_t Conditional(const LayerBenchReport& report) {
  return static_cast<size_t>(
      std::count_if(report.rows.begin(), report.rows.end(), [](const LayerBenchRow& row) { return !row.dense; }));
}

TEST(BenchLayers, VerifiesLowPrecisions) {
  for (const Quantization precision : {Quantization::kBf16, Quantization::kInt8}) {
    const LayerBenchReport report = BenchLayers(
        {.width = 64, .precision = precision, .kinds = {}, .token_counts = {1, 40}, .threads = 2, .seconds = 0.001},
        [](double, const std::string&) {});
    EXPECT_EQ(Conditional(report), 4u);
    EXPECT_GT(report.ceiling.flops_per_second, 0);
    for (const LayerBenchRow& row : report.rows) {
      EXPECT_LT(row.error, row.tolerance) << row.name << " " << QuantizationName(precision);
      EXPECT_GE(row.bytes_per_token.at(0), row.bytes_per_token.at(1)) << row.name;
    }
  }
}

TEST(BenchLayers, VerifiesEveryLayerAndTimesEveryBatch) {
  const LayerBenchReport report =
      BenchLayers({.width = 64, .kinds = LayerBenchKinds(), .token_counts = {1, 8}, .threads = 2, .seconds = 0.001},
                  [](double, const std::string&) {});
  EXPECT_EQ(Conditional(report), 11u);
  for (const LayerBenchRow& row : report.rows) {
    EXPECT_LT(row.error, row.tolerance) << row.name;
    ASSERT_EQ(row.timings.size(), 2u);
    EXPECT_GT(row.timings[0].median, 0);
  }
  EXPECT_GT(report.DenseSecondsPerToken(0), 0);
  const auto tree =
      std::find_if(report.rows.begin(), report.rows.end(), [](const auto& r) { return r.name == "neuron trees 1x11"; });
  ASSERT_NE(tree, report.rows.end());
  EXPECT_EQ(tree->active, 12u);
  EXPECT_EQ(tree->stored, 4095u);
  for (const char* name : {"mixture, 128 experts of 32, top 4", "product keys, 64x64, 8 heads of 16",
                           "4 leaf trees, each 32 leaves of 32, 1 path", "leaf tree, 32 leaves of 128, 1 path"}) {
    const auto row =
        std::find_if(report.rows.begin(), report.rows.end(), [&](const auto& r) { return r.name == name; });
    ASSERT_NE(row, report.rows.end()) << name;
    EXPECT_EQ(row->active, 128u) << name;
    EXPECT_EQ(row->stored, 4096u) << name;
  }
}

// What is shown by default, and dense layers alone beside the kinds that are asked for.
TEST(BenchLayers, ShowsTheKindsAskedFor) {
  const auto rows = [](std::vector<std::string> kinds) {
    const LayerBenchOptions options{
        .width = 16, .kinds = std::move(kinds), .token_counts = {1}, .seconds = 0.0001, .checked_tokens = 1};
    return Conditional(BenchLayers(options, [](double, const std::string&) {}));
  };
  EXPECT_EQ(rows({}), 4u);
  EXPECT_EQ(rows({"moe"}), 2u);
}

// Forms of each neuron tree beside what is chosen, all checked; no dense layers.
TEST(BenchLayers, ShowsEveryFormOfNeuronTrees) {
  LayerBenchOptions options{
      .width = 32, .kinds = {}, .forms = true, .dense = false, .token_counts = {1, 40}, .seconds = 0.0001};
  const auto names = [&] {
    std::vector<std::string> found;
    for (const LayerBenchRow& row : BenchLayers(options, [](double, const std::string&) {}).rows) {
      EXPECT_FALSE(row.dense);
      EXPECT_LT(row.error, row.tolerance) << row.name;
      if (row.name.starts_with("neuron")) found.push_back(row.name);
    }
    return found;
  };
  const std::vector<std::string> one = {
      "neuron trees 1x11", "neuron trees 1x11, form: few tokens", "neuron trees 1x11, form: many tokens",
      "neuron trees 16x7", "neuron trees 16x7, form: few tokens", "neuron trees 16x7, form: many tokens"};
  EXPECT_EQ(names(), one);
  options.threads = 2;
  EXPECT_EQ(names().back(), "neuron trees 16x7, form: threads share tokens");
  options.precision = Quantization::kInt8;  // one form alone
  EXPECT_EQ(names().size(), 2u);
}

// One large tree beside dense layers of four times the width, as GPT-3's size is measured.
TEST(BenchLayers, TakesATreeOfAnyShape) {
  const LayerBenchReport report = BenchLayers({.width = 48,
                                               .precision = Quantization::kBf16,
                                               .kinds = {},
                                               .shape = TreesAndDepth{.trees = 2, .depth = 9},
                                               .token_counts = {1, 20},
                                               .seconds = 0.001},
                                              [](double, const std::string&) {});
  EXPECT_EQ(report.full, 192u);
  ASSERT_EQ(Conditional(report), 1u);
  EXPECT_EQ(report.rows.back().name, "neuron trees 2x9");
  for (const LayerBenchRow& row : report.rows) {
    EXPECT_LT(row.error, row.tolerance) << row.name;
    EXPECT_EQ(row.rival, row.dense && row.stored == 192) << row.name;
  }
}

}  // namespace
}  // namespace grove::bench
