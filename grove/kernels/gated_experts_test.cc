// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Gated experts, and the router of leaf trees that feeds them.
#include "grove/kernels/gated_experts.h"

#include <gtest/gtest.h>

#include "grove/kernels/leaf_router.h"
#include "grove/kernels/test_cases.h"

namespace grove {
namespace {

using test::ExpertsCase;
using test::LeafRouterCase;
using test::OnEveryTarget;
using test::RandomChoices;
using test::RandomNormal;
using test::RelativeError;

struct Choices {
  Choices(size_t tokens, size_t experts, size_t n, uint64_t seed)
      : chosen(RandomChoices(tokens, experts, n, seed)),
        gates(RandomNormal(chosen.size(), 1.0f, seed + 1)),
        exact(gates.begin(), gates.end()),
        per_token(n) {}
  ExpertChoices view(size_t first_token = 0) const {
    return {chosen.data() + first_token * per_token, gates.data() + first_token * per_token, per_token};
  }
  std::vector<uint32_t> chosen;
  std::vector<float> gates;
  std::vector<double> exact;
  size_t per_token;
};

// Widths that straddle vector lengths; one expert, one neuron; few tokens for many experts and the other way round.
TEST(GatedExpertsForward, EqualsReferenceOnEveryTarget) {
  const ExpertsShape shapes[] = {
      {.experts = 1, .in_width = 5, .hidden_width = 3, .out_width = 4},
      {.experts = 9, .in_width = 1, .hidden_width = 1, .out_width = 1},
      {.experts = 7, .in_width = 17, .hidden_width = 16, .out_width = 33, .activation = Activation::kRelu},
      {.experts = 300, .in_width = 40, .hidden_width = 20, .out_width = 96}};
  OnEveryTarget([&] {
    for (const ExpertsShape& shape : shapes) {
      const ExpertsCase c(shape, 3);
      const PackedExperts packed(shape, c.weights());
      for (const size_t per_token :
           {size_t{1}, std::min<size_t>(3, shape.experts), std::min<size_t>(9, shape.experts)}) {
        for (const size_t tokens : {0, 1, 5, 70}) {
          ThreadPool pool(tokens == 70 ? 3 : 1);
          const std::vector<float> x = RandomNormal(tokens * shape.in_width, 1.0f, 5);
          const Choices choices(tokens, shape.experts, per_token, 8);
          std::vector<float> expected(tokens * shape.out_width), y(expected.size() + 1, NAN);
          y.back() = 42.0f;  // guard
          GatedExpertsReference(shape, c.weights(), x.data(), tokens, choices.chosen.data(), choices.exact.data(),
                                per_token, expected.data());
          GatedExpertsForward(packed, x.data(), tokens, choices.view(), y.data(), pool);
          EXPECT_EQ(y.back(), 42.0f);
          y.pop_back();
          EXPECT_LT(RelativeError(y, expected), 1e-5) << shape.experts << " experts, " << per_token << " a token";
        }
      }
    }
  });
}

// Nor on the order in which a token's experts are given.
TEST(GatedExpertsForward, DoesNotDependOnBatchThreadsOrOrder) {
  const ExpertsShape shape{.experts = 12, .in_width = 50, .hidden_width = 24, .out_width = 30};
  const ExpertsCase c(shape);
  const PackedExperts packed(shape, c.weights());
  const size_t tokens = 100, n = 4;
  const std::vector<float> x = RandomNormal(tokens * shape.in_width, 1.0f, 5);
  const Choices choices(tokens, shape.experts, n, 6);
  Choices turned = choices;
  for (size_t t = 0; t < tokens; ++t) {
    std::reverse(turned.chosen.begin() + ptrdiff_t(t * n), turned.chosen.begin() + ptrdiff_t((t + 1) * n));
    std::reverse(turned.gates.begin() + ptrdiff_t(t * n), turned.gates.begin() + ptrdiff_t((t + 1) * n));
  }
  std::vector<float> together(tokens * shape.out_width), alone(together.size()), other(together.size());
  OnEveryTarget([&] {
    ThreadPool three(3), one(1);
    GatedExpertsForward(packed, x.data(), tokens, choices.view(), together.data(), three);
    GatedExpertsForward(packed, x.data(), tokens, turned.view(), other.data(), one);
    for (size_t t = 0; t < tokens; ++t) {
      GatedExpertsForward(packed, x.data() + t * shape.in_width, 1, choices.view(t), alone.data() + t * shape.out_width,
                          one);
    }
    EXPECT_EQ(together, alone);
    EXPECT_EQ(together, other);
  });
}

std::vector<LeafRouterShape> RouterShapes() {
  std::vector<LeafRouterShape> shapes;
  for (const Gates gates : {Gates::kRenormalized, Gates::kProbability}) {
    const auto add = [&](size_t width, size_t trees, size_t depth, size_t paths, float scale) {
      shapes.push_back(
          {.width = width, .trees = trees, .depth = depth, .paths = paths, .decision_scale = scale, .gates = gates});
    };
    add(5, 1, 0, 1, 1.0f);
    add(33, 3, 0, 1, 1.0f);
    add(1, 1, 3, 1, 1.0f);
    add(17, 4, 5, 1, 3.0f);
    add(48, 1, 6, 4, 4.0f);
    add(40, 3, 4, 5, 2.0f);
    add(20, 2, 3, 8, 1.0f);
  }
  return shapes;
}

TEST(RouteLeaves, EqualsReferenceOnEveryTarget) {
  OnEveryTarget([] {
    for (const LeafRouterShape& shape : RouterShapes()) {
      const LeafRouterCase c(shape, 3);
      const PackedLeafRouter packed(shape, c.weights());
      for (const size_t tokens : {0, 1, 150}) {
        ThreadPool pool(tokens == 150 ? 3 : 1);
        const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 5);
        const size_t count = tokens * shape.leaves_per_token();
        std::vector<uint32_t> leaves(count), expected_leaves(count);
        std::vector<float> gates(count, NAN);
        std::vector<double> exact(count);
        RouteLeavesReference(shape, c.weights(), x.data(), tokens, expected_leaves.data(), exact.data());
        RouteLeaves(packed, x.data(), tokens, {leaves.data(), gates.data()}, pool);
        EXPECT_EQ(leaves, expected_leaves) << "trees " << shape.trees << " paths " << shape.paths;
        EXPECT_LT(RelativeError(gates, std::vector<float>(exact.begin(), exact.end())), 1e-5);
      }
    }
  });
}

TEST(RouteLeaves, DoesNotDependOnBatchOrThreads) {
  for (const LeafRouterShape& shape : RouterShapes()) {
    const LeafRouterCase c(shape);
    const PackedLeafRouter packed(shape, c.weights());
    const size_t tokens = 130, n = shape.leaves_per_token();
    const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 5);
    OnEveryTarget([&] {
      ThreadPool three(3), one(1);
      std::vector<uint32_t> together(tokens * n), alone(tokens * n);
      std::vector<float> gates(tokens * n), gates_alone(tokens * n);
      RouteLeaves(packed, x.data(), tokens, {together.data(), gates.data()}, three);
      for (size_t t = 0; t < tokens; ++t) {
        RouteLeaves(packed, x.data() + t * shape.width, 1, {alone.data() + t * n, gates_alone.data() + t * n}, one);
      }
      EXPECT_EQ(together, alone);
      EXPECT_EQ(gates, gates_alone);
    });
  }
}

// So certain that the probability of the last leaves underflows: gates by probability become 0, never NaN.
TEST(RouteLeaves, CertainDecisionsStayFinite) {
  for (const size_t paths : {1, 3, 16}) {
    const LeafRouterShape shape{
        .width = 8, .depth = 4, .paths = paths, .decision_scale = 1000.0f, .gates = Gates::kProbability};
    const LeafRouterCase c(shape);
    const PackedLeafRouter packed(shape, c.weights());
    const std::vector<float> x = RandomNormal(20 * shape.width, 10.0f, 5);
    std::vector<uint32_t> leaves(20 * paths);
    std::vector<float> gates(leaves.size(), NAN);
    ThreadPool pool(1);
    RouteLeaves(packed, x.data(), 20, {leaves.data(), gates.data()}, pool);
    for (const float gate : gates) EXPECT_TRUE(gate >= 0 && gate <= 1) << gate;
  }
}

}  // namespace
}  // namespace grove
