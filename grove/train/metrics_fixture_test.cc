// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The metrics against scikit-learn's and SciPy's values (metrics.json), to 1e-12.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "grove/io/files.h"
#include "grove/train/metrics.h"
#include "tests/fixtures.h"

namespace grove::train {
namespace {

constexpr double kTolerance = 1e-12;

class MetricsFixture : public testing::TestWithParam<std::string> {};

TEST_P(MetricsFixture, AgreesWithTheReference) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  const auto text = ReadTextFile(GetParam());
  ASSERT_TRUE(text.ok()) << text.error().message();
  const auto cases = nlohmann::json::parse(text.value());
  ASSERT_FALSE(cases.empty());
  for (const auto& one : cases) {
    const auto labels = one["labels"].get<std::vector<int64_t>>(), predicted = one["preds"].get<std::vector<int64_t>>();
    EXPECT_NEAR(Accuracy(predicted, labels), one["accuracy"].get<double>(), kTolerance);
    EXPECT_NEAR(F1(predicted, labels), one["f1"].get<double>(), kTolerance);
    EXPECT_NEAR(MatthewsCorrelation(predicted, labels), one["mcc"].get<double>(), kTolerance);
    const auto a = one["a"].get<std::vector<double>>(), b = one["b"].get<std::vector<double>>();
    EXPECT_NEAR(PearsonCorrelation(a, b), one["pearson"].get<double>(), kTolerance);
    EXPECT_NEAR(SpearmanCorrelation(a, b), one["spearman"].get<double>(), kTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, MetricsFixture, testing::ValuesIn(test::FixtureFiles("", "metrics", ".json")),
                         test::FixtureName);

}  // namespace
}  // namespace grove::train
