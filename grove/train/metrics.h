// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The scores of fine-tuned models: those of GLUE, and entity F1 for token classification. All in double; a score whose
// denominator is 0 (no positive prediction, constant values) is 0, as in scikit-learn's defaults.
//
//   const double mcc = MatthewsCorrelation(predicted, labels);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace grove::train {

enum class Metric { kAccuracy, kEntityF1, kF1, kMatthews, kPearson, kSpearman };
std::string_view MetricName(Metric metric);  // "accuracy", "entity_f1", "f1", "matthews", "pearson", "spearman"

// Of one model on one task.
struct TaskScores {
  std::vector<std::pair<std::string, double>> values;  // "accuracy", "accuracy_mm", in order
  double score = 0;
};

// Both spans of one length, class numbers.
double Accuracy(std::span<const int64_t> predicted, std::span<const int64_t> labels);
// 2 TP / (2 TP + FP + FN) of class `positive`.
double F1(std::span<const int64_t> predicted, std::span<const int64_t> labels, int64_t positive = 1);
// Of any number of classes (Gorodkin's R_K, which for two is Matthews' coefficient).
double MatthewsCorrelation(std::span<const int64_t> predicted, std::span<const int64_t> labels);

double PearsonCorrelation(std::span<const double> a, std::span<const double> b);
// Pearson's of the ranks; ties share the mean of their ranks.
double SpearmanCorrelation(std::span<const double> a, std::span<const double> b);

// Entities as CoNLL counts them: one begins at B-x, and at I-x that does not continue an entity of type x; it is right
// where type, first and last word agree. One vector of labels a sentence.
struct EntityScore {
  double precision = 0, recall = 0, f1 = 0;
};
using WordLabels = std::vector<std::string_view>;
EntityScore ScoreEntities(std::span<const WordLabels> predicted, std::span<const WordLabels> labels);
// Every name is "O" or begins with B- or I-, and one at least is no "O".
bool LooksLikeBio(std::span<const std::string> names);

// The middle value; of an even number the mean of the middle two. `values` is not empty.
double Median(std::vector<double> values);

}  // namespace grove::train
