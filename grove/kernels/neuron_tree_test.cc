// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/neuron_tree.h"

#include <gtest/gtest.h>

#include "grove/kernels/test_cases.h"
#include "grove/kernels/token_path.h"
#include "grove/kernels/tree_walk.h"

namespace grove {
namespace {

using test::NeuronTreeCase;
using test::NeuronTreeGradientBuffers;
using test::OnEveryTarget;
using test::RandomNormal;
using test::RelativeError;

// Widths straddle vector lengths; depth 0; many and few trees.
std::vector<NeuronTreeShape> Shapes() {
  std::vector<NeuronTreeShape> shapes;
  for (const bool two_sided : {false, true}) {
    for (const Activation activation : {Activation::kGelu, Activation::kRelu}) {
      shapes.push_back({.width = 1, .trees = 1, .depth = 2, .activation = activation, .two_sided = two_sided});
      shapes.push_back({.width = 7, .trees = 3, .depth = 0, .activation = activation, .two_sided = two_sided});
      shapes.push_back({.width = 16, .trees = 2, .depth = 4, .activation = activation, .two_sided = two_sided});
      shapes.push_back({.width = 33, .trees = 1, .depth = 7, .activation = activation, .two_sided = two_sided});
      shapes.push_back({.width = 96, .trees = 4, .depth = 4, .activation = activation, .two_sided = two_sided});
    }
  }
  return shapes;
}

TEST(NeuronTreeForward, EqualsReferenceOnEveryTarget) {
  OnEveryTarget([] {
    for (const NeuronTreeShape& shape : Shapes()) {
      for (const bool bias : {true, false}) {
        const NeuronTreeCase c(shape, 11, bias);
        const PackedNeuronTree packed(shape, c.weights());
        for (const size_t tokens : {0, 1, 5, 50}) {
          for (const size_t threads : {1, 3}) {
            ThreadPool pool(threads);
            const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 5);
            std::vector<float> expected(x.size()), y(x.size() + 1, NAN);
            y.back() = 42.0f;  // guard
            NeuronTreeForwardReference(shape, c.weights(), x.data(), tokens, expected.data(), nullptr);
            NeuronTreeForward(packed, x.data(), tokens, y.data(), nullptr, pool);
            EXPECT_EQ(y.back(), 42.0f);
            y.pop_back();
            EXPECT_LT(RelativeError(y, expected), 1e-5) << "width " << shape.width << " depth " << shape.depth;
          }
        }
      }
    }
  });
}

// Every form gives the bits of a token alone: grouped by subtree (of tokens that spread and of tokens that all take one
// path), few in lockstep, trees over threads.
TEST(NeuronTreeForward, DoesNotDependOnBatchThreadsOrGrouping) {
  for (const NeuronTreeShape& shape :
       {NeuronTreeShape{.width = 50, .trees = 3, .depth = 5, .two_sided = true},
        NeuronTreeShape{.width = 64, .trees = 1, .depth = 9}, NeuronTreeShape{.width = 48, .trees = 8, .depth = 2},
        NeuronTreeShape{.width = 80, .trees = 7, .depth = 6}}) {
    const NeuronTreeCase c(shape);
    const PackedNeuronTree packed(shape, c.weights());
    const size_t most = 700, equal_from = 400, visits = shape.trees * shape.levels();
    std::vector<float> x = RandomNormal(most * shape.width, 1.0f, 5);
    for (size_t i = equal_from * shape.width; i < x.size(); ++i) x[i] = x[i - shape.width];
    OnEveryTarget([&] {
      ThreadPool one(1);
      std::vector<float> alone(x.size()), logits(most * visits);
      std::vector<uint32_t> nodes(most * visits);
      for (size_t t = 0; t < most; ++t) {
        const NeuronTreeTrace trace{nodes.data() + t * visits, logits.data() + t * visits};
        NeuronTreeForward(packed, x.data() + t * shape.width, 1, alone.data() + t * shape.width, &trace, one);
      }
      for (const size_t tokens : {size_t{1}, size_t{2}, size_t{15}, size_t{17}, size_t{100}, most}) {
        for (const size_t threads : {1, 3}) {
          ThreadPool pool(threads);
          std::vector<float> together(tokens * shape.width, NAN), together_logits(tokens * visits);
          std::vector<uint32_t> together_nodes(tokens * visits);
          const NeuronTreeTrace trace{together_nodes.data(), together_logits.data()};
          NeuronTreeForward(packed, x.data(), tokens, together.data(), &trace, pool);
          EXPECT_TRUE(std::equal(together.begin(), together.end(), alone.begin())) << tokens << " tokens";
          EXPECT_TRUE(std::equal(together_nodes.begin(), together_nodes.end(), nodes.begin()));
          EXPECT_TRUE(std::equal(together_logits.begin(), together_logits.end(), logits.begin()));
        }
      }
    });
  }
}

// Each form can take any number of tokens: what is best is measured, not assumed.
TEST(NeuronTreeForward, FormsThatAreForcedGiveTheSameBits) {
  const NeuronTreeShape shape{.width = 48, .trees = 6, .depth = 5};
  const NeuronTreeCase c(shape);
  const PackedNeuronTree packed(shape, c.weights());
  for (const size_t tokens : {size_t{1}, size_t{3}, size_t{15}, size_t{16}, size_t{200}}) {
    const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 5);
    std::vector<float> chosen(x.size());
    ThreadPool one(1);
    NeuronTreeForward(packed, x.data(), tokens, chosen.data(), nullptr, one);
    for (const WalkForm form : {WalkForm::kOneByThreads, WalkForm::kFewTokens, WalkForm::kGrouped}) {
      for (const size_t threads : {1, 3}) {
        ThreadPool pool(threads);
        std::vector<float> y(x.size(), NAN);
        const ForcedWalkForm forced(form);
        EXPECT_EQ(ChooseWalkForm(shape, tokens, threads), form);
        NeuronTreeForward(packed, x.data(), tokens, y.data(), nullptr, pool);
        EXPECT_EQ(y, chosen) << tokens << " tokens, " << threads << " threads";
      }
    }
  }
  EXPECT_EQ(ChooseWalkForm(shape, 1, 1), WalkForm::kFewTokens);  // as before
  EXPECT_EQ(ChooseWalkForm(shape, 2, 1), WalkForm::kFewTokens);
  EXPECT_EQ(ChooseWalkForm(shape, 3, 1), WalkForm::kGrouped);  // 18 paths
  EXPECT_EQ(ChooseWalkForm(shape, 2, 3), WalkForm::kOneByThreads);
}

// Outputs past the caches: more of them than kCachesHoldBytes.
TEST(NeuronTreeForward, ManyTokensEqualFewToTheBit) {
  const NeuronTreeShape shape{.width = 2048, .trees = 1, .depth = 3};
  const NeuronTreeCase c(shape);
  const PackedNeuronTree packed(shape, c.weights());
  const size_t tokens = 4200;
  const std::vector<float> some = RandomNormal(100 * shape.width, 1.0f, 5);
  AlignedArray<float> x(tokens * shape.width), y(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = some[i % some.size()];
  ThreadPool pool(2);
  std::vector<float> few(some.size());
  NeuronTreeForward(packed, x.data(), tokens, y.data(), nullptr, pool);
  NeuronTreeForward(packed, some.data(), 100, few.data(), nullptr, pool);
  for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], few[i % few.size()]) << i;
}

TEST(NeuronTreeForwardAlong, EqualsReferenceOnEveryTarget) {
  OnEveryTarget([] {
    for (const NeuronTreeShape& shape : Shapes()) {
      const NeuronTreeCase c(shape, 11);
      const PackedNeuronTree packed(shape, c.weights());
      for (const size_t tokens : {0, 1, 50}) {
        ThreadPool pool(tokens == 50 ? 3 : 1);
        const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 5);
        std::vector<uint32_t> ends(tokens * shape.trees);
        for (size_t p = 0; p < ends.size(); ++p) {
          const uint64_t path = TokenPath(TreeKey(1, 2, static_cast<int64_t>(p % shape.trees)), int64_t(p));
          ends[p] = static_cast<uint32_t>(p % shape.trees << shape.depth) + TokenPathEnd(path, shape.depth);
        }
        std::vector<float> expected(x.size()), y(x.size(), NAN);
        NeuronTreeForwardAlongReference(shape, c.weights(), x.data(), tokens, ends.data(), expected.data());
        NeuronTreeForwardAlong(packed, x.data(), tokens, ends.data(), y.data(), pool);
        EXPECT_LT(RelativeError(y, expected), 1e-5) << "width " << shape.width << " depth " << shape.depth;
      }
    }
  });
}

// Along the paths that the logits decide, the two forms are one: to the bit.
TEST(NeuronTreeForwardAlong, DecidedPathsGiveTheDecidedForm) {
  const NeuronTreeShape shape{.width = 50, .trees = 3, .depth = 5, .two_sided = true};
  const NeuronTreeCase c(shape);
  const PackedNeuronTree packed(shape, c.weights());
  const size_t tokens = 40, levels = shape.levels();
  const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 5);
  OnEveryTarget([&] {
    ThreadPool pool(2);
    std::vector<float> decided(x.size()), along(x.size()), logits(tokens * shape.trees * levels);
    std::vector<uint32_t> nodes(logits.size()), ends, path(levels);
    const NeuronTreeTrace trace{nodes.data(), logits.data()};
    NeuronTreeForward(packed, x.data(), tokens, decided.data(), &trace, pool);
    for (size_t p = 0; p < tokens * shape.trees; ++p) {
      const size_t tree = p % shape.trees, inner = (size_t{1} << shape.depth) - 1;
      const size_t bottom = nodes[(p + 1) * levels - 1] - tree * shape.nodes_per_tree() - inner;
      ends.push_back(static_cast<uint32_t>((tree << shape.depth) + bottom));
      NeuronTreePath(shape, ends.back(), path.data());
      EXPECT_TRUE(std::equal(path.begin(), path.end(), nodes.begin() + static_cast<ptrdiff_t>(p * levels)));
    }
    NeuronTreeForwardAlong(packed, x.data(), tokens, ends.data(), along.data(), pool);
    EXPECT_EQ(along, decided);
  });
}

// Bit j of the path is the turn at level j.
TEST(TokenPath, EndIsWhereItsTurnsLead) {
  const NeuronTreeShape shape{.width = 1, .trees = 2, .depth = 4};
  std::vector<uint32_t> nodes(shape.levels());
  for (int64_t id = 0; id < 50; ++id) {
    const uint64_t path = TokenPath(TreeKey(3, 1, 1), id);
    NeuronTreePath(shape, 16 + TokenPathEnd(path, shape.depth), nodes.data());
    size_t node = 0;
    for (size_t level = 0; level < shape.levels(); ++level) {
      EXPECT_EQ(nodes[level], 31 + node);
      node = 2 * node + 1 + ((path >> level) & 1);
    }
  }
}

TEST(NeuronTreeForward, LogitOfExactlyZeroGoesLeft) {
  const NeuronTreeShape shape{.width = 4, .trees = 1, .depth = 3};
  NeuronTreeCase c(shape, 1, false);
  const std::vector<float> x(4, 0.0f);  // every logit is 0
  std::vector<float> y(4), logits(4);
  std::vector<uint32_t> nodes(4), reference_nodes(4);
  const NeuronTreeTrace trace{nodes.data(), logits.data()};
  const NeuronTreeTrace reference_trace{reference_nodes.data(), logits.data()};
  NeuronTreeForwardReference(shape, c.weights(), x.data(), 1, y.data(), &reference_trace);
  EXPECT_EQ(reference_nodes, (std::vector<uint32_t>{0, 1, 3, 7}));
  const PackedNeuronTree packed(shape, c.weights());
  OnEveryTarget([&] {
    ThreadPool pool(1);
    NeuronTreeForward(packed, x.data(), 1, y.data(), &trace, pool);
    EXPECT_EQ(nodes, reference_nodes);
  });
}

TEST(NeuronTreeForward, OneSidedLeftTurnsOfReluSayNothing) {
  const NeuronTreeShape shape{.width = 1, .trees = 1, .depth = 1, .activation = Activation::kRelu, .two_sided = true};
  const std::vector<float> w_in{1, 1, 1}, w_out{10, 20, 30}, w_left{100, 200, 300}, x{-2};
  float y = 0;
  NeuronTreeShape one_sided = shape;
  one_sided.two_sided = false;
  NeuronTreeForwardReference(one_sided, {w_in.data(), nullptr, w_out.data(), nullptr}, x.data(), 1, &y, nullptr);
  EXPECT_EQ(y, 0.0f);
  NeuronTreeForwardReference(shape, {w_in.data(), nullptr, w_out.data(), w_left.data()}, x.data(), 1, &y, nullptr);
  EXPECT_EQ(y, 2 * 100 + 2 * 200);  // root, then its left child
}

TEST(NeuronTreeBackward, EqualsReferenceOnEveryTargetAndThreadCount) {
  OnEveryTarget([] {
    for (const NeuronTreeShape& shape : Shapes()) {
      const NeuronTreeCase c(shape, 21);
      const PackedNeuronTree packed(shape, c.weights());
      for (const size_t tokens : {0, 1, 40}) {
        const size_t visits = tokens * shape.trees * shape.levels();
        const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 7);
        const std::vector<float> dy = RandomNormal(tokens * shape.width, 1.0f, 8);
        NeuronTreeGradientBuffers expected(shape, tokens);
        NeuronTreeBackwardReference(shape, c.weights(), x.data(), dy.data(), tokens, expected.view());
        std::vector<float> y(x.size()), logits(visits), first;
        std::vector<uint32_t> nodes(visits);
        const NeuronTreeTrace trace{nodes.data(), logits.data()};
        for (const size_t threads : {1, 3}) {
          ThreadPool pool(threads);
          NeuronTreeGradientBuffers actual(shape, tokens);
          NeuronTreeForward(packed, x.data(), tokens, y.data(), &trace, pool);
          NeuronTreeBackward(packed, x.data(), trace, dy.data(), tokens, actual.view(), pool);
          EXPECT_LT(RelativeError(actual.dx, expected.dx), 1e-5);
          EXPECT_LT(RelativeError(actual.dw_in, expected.dw_in), 1e-5);
          EXPECT_LT(RelativeError(actual.db_in, expected.db_in), 1e-5);
          EXPECT_LT(RelativeError(actual.dw_out, expected.dw_out), 1e-5);
          EXPECT_LT(RelativeError(actual.dw_out_left, expected.dw_out_left), 1e-5);
          if (first.empty()) first = actual.dw_in;
          EXPECT_EQ(first, actual.dw_in) << "depends on the number of threads";
        }
      }
    }
  });
}

// The reference's own gradient against differences of its forward pass; routing is constant in a small neighbourhood.
TEST(NeuronTreeBackward, ReferenceEqualsDifferences) {
  for (const bool two_sided : {false, true}) {
    const NeuronTreeShape shape{.width = 6, .trees = 2, .depth = 2, .two_sided = two_sided};
    const NeuronTreeCase c(shape, 31);
    const size_t tokens = 3;
    std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 9), y(x.size());
    const std::vector<float> dy = RandomNormal(x.size(), 1.0f, 10);
    NeuronTreeGradientBuffers g(shape, tokens);
    NeuronTreeBackwardReference(shape, c.weights(), x.data(), dy.data(), tokens, g.view());
    const auto loss = [&] {
      NeuronTreeForwardReference(shape, c.weights(), x.data(), tokens, y.data(), nullptr);
      double sum = 0;
      for (size_t i = 0; i < y.size(); ++i) sum += double{y[i]} * dy[i];
      return sum;
    };
    for (size_t i = 0; i < x.size(); ++i) {
      const float kept = x[i], step = 1e-3f;
      x[i] = kept + step;
      const double above = loss();
      x[i] = kept - step;
      const double below = loss();
      x[i] = kept;
      EXPECT_NEAR((above - below) / (2 * step), g.dx[i], 2e-3 * (1 + std::abs(g.dx[i])));
    }
  }
}

}  // namespace
}  // namespace grove
