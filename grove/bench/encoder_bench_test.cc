// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/encoder_bench.h"

#include <gtest/gtest.h>

#include "grove/bench/encoder_cost.h"

namespace grove::bench {
namespace {

EncoderBenchOptions SmallOptions() {
  EncoderBenchOptions options;
  options.layers = 2;
  options.width = 32;
  options.heads = 4;
  options.batches = {1, 4};
  options.length = 12;
  options.seconds = 0.001;
  return options;
}

TEST(EncoderBench, TimesEveryKindAtEveryBatch) {
  EncoderBenchOptions options = SmallOptions();
  options.ragged = true;
  options.threads = 2;
  options.kinds = EncoderBenchKinds();
  const EncoderBenchReport report = BenchEncoders(options, [](double, const std::string&) {}).value();
  EXPECT_EQ(report.tokens, (std::vector<size_t>{12, 8 + 9 + 10 + 12}));
  EXPECT_GT(report.rows[0].ceiling.flops_per_second, 1e8);
  EXPECT_GT(report.rows[0].ceiling.bytes_per_second, 1e8);
  ASSERT_EQ(report.rows.size(), options.kinds.size());
  for (const EncoderBenchRow& row : report.rows) {
    ASSERT_EQ(row.timings.size(), 2u) << row.name;
    for (size_t b = 0; b < 2; ++b) {
      EXPECT_GT(row.timings[b].median, 0) << row.name;
      EXPECT_GT(row.roofline_share[b], 0) << row.name;
    }
  }
}

TEST(EncoderBench, RefusesALengthBeyondAModelsLimit) {
  EncoderBenchOptions options = SmallOptions();
  options.models = {"no such folder"};
  EXPECT_FALSE(BenchEncoders(options, [](double, const std::string&) {}).ok());
}

// DESIGN.md: by arithmetic, BERT-base without its feedforward is 2.85 times as fast at length 128.
TEST(EncoderCost, CountsBertBase) {
  ModelConfig config;
  config.width = 768;
  config.layers = 12;
  config.heads = 12;
  config.feed_forward = {.kind = FeedForwardKind::kDense, .intermediate = 3072};
  const std::vector<size_t> lengths(4, 128);
  const EncoderCost dense = CostOf(config, Precision::kFp32, lengths);
  EXPECT_DOUBLE_EQ(dense.flops / 512, 12 * (8.0 * 768 * 768 + 4.0 * 768 * 3072 + 4.0 * 768 * 128));
  EXPECT_DOUBLE_EQ(dense.weight_bytes, 12 * (4.0 * 768 * 768 + 2.0 * 768 * 3072) * 4);
  EXPECT_LT(CostOf(config, Precision::kBf16, lengths).bytes, dense.bytes);
  config.feed_forward = {.kind = FeedForwardKind::kNone};
  EXPECT_NEAR(dense.flops / CostOf(config, Precision::kFp32, lengths).flops, 2.85, 0.01);
}

}  // namespace
}  // namespace grove::bench
