// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace grove::train {
namespace {

TEST(Metrics, DegenerateInputsScoreZero) {
  const std::vector<int64_t> zeros{0, 0, 0}, labels{0, 1, 1};
  EXPECT_EQ(F1(zeros, zeros), 0);
  EXPECT_EQ(F1(zeros, labels), 0);
  EXPECT_EQ(MatthewsCorrelation(zeros, labels), 0);
  EXPECT_EQ(Accuracy({}, {}), 0);
  EXPECT_EQ(PearsonCorrelation(std::vector<double>{1, 1}, std::vector<double>{1, 2}), 0);
  EXPECT_EQ(SpearmanCorrelation({}, {}), 0);
}

// Three classes, confusion counts by hand: R_K = (c n - sum p t) / sqrt((n^2 - sum p^2)(n^2 - sum t^2)).
TEST(Metrics, MatthewsOfThreeClasses) {
  const std::vector<int64_t> labels{0, 0, 1, 1, 2, 2}, predicted{0, 1, 1, 1, 2, 0};
  // right 4, n 6; predicted 2, 3, 1; labelled 2, 2, 2.
  EXPECT_NEAR(MatthewsCorrelation(predicted, labels), (24.0 - 12.0) / std::sqrt((36.0 - 14.0) * (36.0 - 12.0)), 1e-12);
  EXPECT_NEAR(MatthewsCorrelation(labels, labels), 1, 1e-12);
}

TEST(Metrics, SpearmanSeesOnlyOrder) {
  const std::vector<double> a{1, 2, 3, 4}, b{1, 10, 100, 1000};
  EXPECT_NEAR(SpearmanCorrelation(a, b), 1, 1e-12);
  EXPECT_LT(PearsonCorrelation(a, b), 0.9);
}

TEST(Metrics, EntitiesCountWhole) {
  const std::vector<WordLabels> labels{{"B-PER", "I-PER", "O", "B-LOC"}, {"O", "I-ORG", "B-ORG"}};
  EXPECT_EQ(ScoreEntities(labels, labels).f1, 1);
  // The first entity cut short, the second of another type, the third (which begins with I-) and the fourth right.
  const std::vector<WordLabels> predicted{{"B-PER", "O", "O", "B-ORG"}, {"O", "B-ORG", "B-ORG"}};
  const EntityScore score = ScoreEntities(predicted, labels);
  EXPECT_EQ(score.precision, 0.5);
  EXPECT_EQ(score.recall, 0.5);
  EXPECT_EQ(score.f1, 0.5);
  const std::vector<WordLabels> nothing{{"O", "O", "O", "O"}, {"O", "O", "O"}};
  EXPECT_EQ(ScoreEntities(nothing, labels).f1, 0);
  EXPECT_EQ(ScoreEntities(nothing, nothing).f1, 0);
}

TEST(Metrics, BioIsRecognized) {
  EXPECT_TRUE(LooksLikeBio(std::vector<std::string>{"O", "B-PER", "I-PER"}));
  EXPECT_FALSE(LooksLikeBio(std::vector<std::string>{"O"}));
  EXPECT_FALSE(LooksLikeBio(std::vector<std::string>{"O", "NOUN"}));
}

TEST(Metrics, MedianOfEvenAndOddNumbers) {
  EXPECT_EQ(Median({3}), 3);
  EXPECT_EQ(Median({5, 1, 3}), 3);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
}

}  // namespace
}  // namespace grove::train
