// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/metrics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "grove/base/check.h"

namespace grove::train {
namespace {

double Ratio(double numerator, double denominator) { return denominator == 0 ? 0 : numerator / denominator; }

// 1-based ranks, ties at their mean.
std::vector<double> Ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double rank = static_cast<double>(begin + 1 + end) / 2;
    for (; begin < end; ++begin) ranks[order[begin]] = rank;
  }
  return ranks;
}

using Entity = std::tuple<size_t, size_t, std::string_view>;  // first word, behind the last one, type

std::set<Entity> Entities(const WordLabels& labels) {
  std::set<Entity> entities;
  size_t begin = 0;
  std::string_view open;  // type of the entity that is going on; empty: none
  for (size_t i = 0; i <= labels.size(); ++i) {
    const std::string_view label = i < labels.size() ? labels[i] : "O";
    const bool inside = label.size() > 2 && label[1] == '-';
    const std::string_view type = inside ? label.substr(2) : std::string_view();
    if (inside && label[0] == 'I' && type == open) continue;
    if (!open.empty()) entities.emplace(begin, i, open);
    open = type;
    begin = i;
  }
  return entities;
}

}  // namespace

std::string_view MetricName(Metric metric) {
  switch (metric) {
    case Metric::kAccuracy:
      return "accuracy";
    case Metric::kEntityF1:
      return "entity_f1";
    case Metric::kF1:
      return "f1";
    case Metric::kMatthews:
      return "matthews";
    case Metric::kPearson:
      return "pearson";
    case Metric::kSpearman:
      return "spearman";
  }
  GROVE_CHECK(false);
}

double Accuracy(std::span<const int64_t> predicted, std::span<const int64_t> labels) {
  GROVE_CHECK(predicted.size() == labels.size());
  double right = 0;
  for (size_t i = 0; i < labels.size(); ++i) right += predicted[i] == labels[i] ? 1 : 0;
  return Ratio(right, static_cast<double>(labels.size()));
}

double F1(std::span<const int64_t> predicted, std::span<const int64_t> labels, int64_t positive) {
  GROVE_CHECK(predicted.size() == labels.size());
  double both = 0, either = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const int count = (predicted[i] == positive ? 1 : 0) + (labels[i] == positive ? 1 : 0);
    both += count == 2 ? 1 : 0;
    either += count;
  }
  return Ratio(2 * both, either);
}

double MatthewsCorrelation(std::span<const int64_t> predicted, std::span<const int64_t> labels) {
  GROVE_CHECK(predicted.size() == labels.size());
  const double n = static_cast<double>(labels.size());
  double right = 0;
  std::map<int64_t, std::pair<double, double>> counts;  // class -> predicted, labelled
  for (size_t i = 0; i < labels.size(); ++i) {
    right += predicted[i] == labels[i] ? 1 : 0;
    ++counts[predicted[i]].first;
    ++counts[labels[i]].second;
  }
  double products = 0, predicted_squares = 0, label_squares = 0;
  for (const auto& [name, count] : counts) {
    products += count.first * count.second;
    predicted_squares += count.first * count.first;
    label_squares += count.second * count.second;
  }
  return Ratio(right * n - products, std::sqrt((n * n - predicted_squares) * (n * n - label_squares)));
}

double PearsonCorrelation(std::span<const double> a, std::span<const double> b) {
  GROVE_CHECK(a.size() == b.size());
  if (a.empty()) return 0;
  const double n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return Ratio(ab, std::sqrt(aa) * std::sqrt(bb));
}

double SpearmanCorrelation(std::span<const double> a, std::span<const double> b) {
  return PearsonCorrelation(Ranks(a), Ranks(b));
}

EntityScore ScoreEntities(std::span<const WordLabels> predicted, std::span<const WordLabels> labels) {
  GROVE_CHECK(predicted.size() == labels.size());
  double found = 0, expected = 0, right = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::set<Entity> guesses = Entities(predicted[i]), truths = Entities(labels[i]);
    found += static_cast<double>(guesses.size());
    expected += static_cast<double>(truths.size());
    right += static_cast<double>(
        std::count_if(guesses.begin(), guesses.end(), [&](const Entity& guess) { return truths.contains(guess); }));
  }
  return {Ratio(right, found), Ratio(right, expected), Ratio(2 * right, found + expected)};
}

bool LooksLikeBio(std::span<const std::string> names) {
  bool entity = false;
  for (const std::string& name : names) {
    if (name == "O") continue;
    if (name.size() < 3 || !(name.starts_with("B-") || name.starts_with("I-"))) return false;
    entity = true;
  }
  return entity;
}

double Median(std::vector<double> values) {
  GROVE_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace grove::train
