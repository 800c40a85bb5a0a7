// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/model_layer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <utility>

#include "grove/bench/layer_bench.h"

namespace grove::bench {
namespace {

TEST(CountVisits, OfOneTree) {
  // Four tokens, two of four leaves each: leaf 0 for all, leaf 2 for two, 1 and 3 for one.
  const std::vector<uint32_t> ends = {0, 2, 0, 1, 2, 0, 0, 3};
  const PathVisits visits = CountVisits(ends, 1, 2, 4);
  EXPECT_DOUBLE_EQ(visits.most_visited, 1.0);
  EXPECT_DOUBLE_EQ(visits.never, 0.0);
  EXPECT_DOUBLE_EQ(visits.entropy_bits, 0.5 * 1 + 0.25 * 2 + 2 * 0.125 * 3);
}

TEST(CountVisits, OfSeveralTreesIsTheMean) {
  // The first tree always takes its first path, the second each of its two equally often.
  const PathVisits visits = CountVisits(std::vector<uint32_t>{0, 2, 0, 3, 0, 3, 0, 2}, 2, 1, 2);
  EXPECT_DOUBLE_EQ(visits.most_visited, 0.75);
  EXPECT_DOUBLE_EQ(visits.never, 0.25);
  EXPECT_DOUBLE_EQ(visits.entropy_bits, 0.5);
}

// The model that ships with the source, reading a page of it.
ModelLayerOptions Shipped() {
  ModelLayerOptions options;
  options.model = GROVE_SOURCE_DIR "/models/small-leaf-tree";
  options.texts = {GROVE_SOURCE_DIR "/README.md"};
  options.tokens = 500;
  return options;
}

TEST(ModelLayer, IsTimedOnItsOwnHiddenStatesAndVerified) {
  for (const auto precision : {std::optional<Quantization>{}, std::optional(Quantization::kInt8)}) {
    ModelLayerOptions wanted = Shipped();
    wanted.layer = 3, wanted.precision = precision;
    ModelLayer layer = ReadModelLayer(wanted).value();
    EXPECT_EQ(layer.width, 384u);
    EXPECT_EQ(layer.x.size(), 500 * layer.width);
    EXPECT_EQ(layer.visits.paths, 128u);
    EXPECT_GT(layer.visits.most_visited, 4.0 / 128);
    EXPECT_LT(layer.visits.entropy_bits, 7);
    LayerBenchOptions options;
    options.precision = precision;
    options.token_counts = {1, 64};
    options.seconds = 0.001;
    options.model_layer = std::make_shared<const ModelLayer>(std::move(layer));
    const LayerBenchReport report = BenchLayers(options, [](double, const std::string&) {});
    EXPECT_EQ(report.full, 2048u);
    ASSERT_GE(report.rows.size(), 4u);
    for (const LayerBenchRow& row : report.rows) EXPECT_LT(row.error, row.tolerance) << row.name;
    EXPECT_EQ(report.rows.back().active, 64u);
    EXPECT_LE(report.rows.back().decisions, 127u);
  }
}

TEST(ModelLayer, RefusesWhatCannotBeMeasured) {
  ModelLayerOptions options = Shipped();
  options.layer = 6;
  Result<ModelLayer> layer = ReadModelLayer(options);
  ASSERT_FALSE(layer.ok());
  EXPECT_NE(layer.error().message().find("layers 0 to 5"), std::string::npos) << layer.error().message();
  options = Shipped();
  options.tokens = options.at_least = 10'000'000;
  layer = ReadModelLayer(options);
  ASSERT_FALSE(layer.ok());
  EXPECT_NE(layer.error().message().find("give more text"), std::string::npos) << layer.error().message();
  options = Shipped();
  options.texts = {"/no/such/text"};
  EXPECT_FALSE(ReadModelLayer(options).ok());
}

}  // namespace
}  // namespace grove::bench
