// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/score_router.h"

#include <gtest/gtest.h>

#include "grove/kernels/test_cases.h"

namespace grove {
namespace {

using test::OnEveryTarget;
using test::RandomNormal;
using test::RelativeError;

// Scores; `coarse` ones take few values, so that many are equal.
std::vector<float> Scores(size_t count, bool coarse, uint64_t seed) {
  std::vector<float> scores = RandomNormal(count, 2.0f, seed);
  if (coarse) {
    for (float& s : scores) s = std::round(s);
  }
  return scores;
}

std::vector<double> Exact(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// Short and long lists, rows that are no multiple of a vector, equal scores.
TEST(ChooseExperts, EqualsReferenceOnEveryTarget) {
  OnEveryTarget([] {
    for (const size_t experts : {1, 5, 16, 33, 200}) {
      for (const size_t k : {size_t{1}, std::min<size_t>(4, experts), std::min<size_t>(100, experts), experts}) {
        for (const Gates gate_kind : {Gates::kRenormalized, Gates::kProbability}) {
          for (const bool coarse : {false, true}) {
            for (const size_t tokens : {0, 1, 300}) {
              const ExpertRouterShape shape{.experts = experts, .per_token = k, .gates = gate_kind};
              const std::vector<float> scores = Scores(tokens * experts, coarse, 4);
              std::vector<uint32_t> chosen(tokens * k), expected(chosen.size());
              std::vector<float> gates(chosen.size(), NAN);
              std::vector<double> exact(chosen.size());
              ThreadPool pool(tokens == 300 ? 3 : 1);
              ChooseExpertsReference(shape, Exact(scores).data(), tokens, expected.data(), exact.data());
              ChooseExperts(shape, scores.data(), tokens, {chosen.data(), gates.data()}, pool);
              EXPECT_EQ(chosen, expected) << k << " of " << experts;
              EXPECT_LT(RelativeError(gates, std::vector<float>(exact.begin(), exact.end())), 1e-5);
            }
          }
        }
      }
    }
  });
}

TEST(ChooseExperts, HugeScoresStayFinite) {
  const std::vector<float> scores = {-3e38f, 3e38f, 1e30f, 3e38f, -INFINITY};
  std::vector<uint32_t> chosen(3);
  std::vector<float> gates(3);
  ThreadPool pool(1);
  for (const Gates kind : {Gates::kRenormalized, Gates::kProbability}) {
    ChooseExperts({.experts = 5, .per_token = 3, .gates = kind}, scores.data(), 1, {chosen.data(), gates.data()}, pool);
    EXPECT_EQ(chosen, (std::vector<uint32_t>{1, 3, 2}));
    EXPECT_EQ(gates, (std::vector<float>{0.5f, 0.5f, 0.0f}));
  }
}

// What is no number is chosen last or first, but is always a valid choice.
TEST(ChooseExperts, NotANumberGivesValidIndices) {
  const std::vector<float> scores(200, NAN);
  for (const size_t k : {1, 5, 100}) {
    std::vector<uint32_t> chosen(k, 1000);
    std::vector<float> gates(k);
    ThreadPool pool(1);
    ChooseExperts({.experts = 200, .per_token = k}, scores.data(), 1, {chosen.data(), gates.data()}, pool);
    for (const uint32_t e : chosen) EXPECT_LT(e, 200u);
  }
}

// The oracle looks at all pairs, so that this proves the pruned search exact.
TEST(ChooseProductKeys, EqualsReferenceOnEveryTarget) {
  OnEveryTarget([] {
    for (const size_t sub_keys : {1, 4, 19, 80}) {
      for (const size_t k : {size_t{1}, std::min<size_t>(3, sub_keys), std::min<size_t>(16, sub_keys), sub_keys}) {
        for (const bool coarse : {false, true}) {
          for (const size_t searches : {0, 1, 20}) {
            const ProductKeyRouterShape shape{.sub_keys = sub_keys, .per_search = k};
            const std::vector<float> first = Scores(searches * sub_keys, coarse, 4);
            const std::vector<float> second = Scores(searches * sub_keys, coarse, 5);
            std::vector<uint32_t> chosen(searches * k), expected(chosen.size());
            std::vector<float> gates(chosen.size(), NAN);
            std::vector<double> exact(chosen.size());
            ThreadPool pool(searches == 20 ? 3 : 1);
            ChooseProductKeysReference(shape, Exact(first).data(), Exact(second).data(), searches, expected.data(),
                                       exact.data());
            ChooseProductKeys(shape, first.data(), second.data(), searches, {chosen.data(), gates.data()}, pool);
            EXPECT_EQ(chosen, expected) << k << " of " << sub_keys << " x " << sub_keys;
            EXPECT_LT(RelativeError(gates, std::vector<float>(exact.begin(), exact.end())), 1e-5);
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace grove
