// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/leaf_tree.h"

#include <gtest/gtest.h>

#include "grove/kernels/test_cases.h"

namespace grove {
namespace {

using test::LeafTreeCase;
using test::LeafTreeGradientBuffers;
using test::OnEveryTarget;
using test::RandomNormal;
using test::RelativeError;

// One path, some, all; widths that straddle vector lengths; depth 0; a leaf of one neuron.
std::vector<LeafTreeShape> Shapes() {
  std::vector<LeafTreeShape> shapes;
  for (const Activation activation : {Activation::kGelu, Activation::kRelu}) {
    const auto add = [&](size_t in, size_t hidden, size_t out, size_t depth, size_t paths, float scale) {
      shapes.push_back({.in_width = in,
                        .leaf_width = hidden,
                        .out_width = out,
                        .depth = depth,
                        .paths = paths,
                        .decision_scale = scale,
                        .activation = activation});
    };
    add(5, 3, 4, 0, 1, 1.0f);
    add(1, 1, 1, 3, 1, 1.0f);
    add(17, 16, 33, 3, 3, 4.0f);
    add(64, 8, 64, 4, 16, 1.0f);
    add(96, 20, 96, 5, 4, 4.0f);
    add(40, 1, 40, 7, 12, 2.0f);
    add(33, 1, 16, 8, 2, 1.0f);   // three levels below those that are computed whole
    add(50, 2, 20, 6, 50, 0.5f);  // more paths than places below them
    add(24, 1, 24, 10, 5, 1.0f);  // best-first
  }
  return shapes;
}

TEST(LeafTreeForward, EqualsReferenceOnEveryTarget) {
  OnEveryTarget([] {
    for (const LeafTreeShape& shape : Shapes()) {
      const LeafTreeCase c(shape, 3);
      const PackedLeafTree packed(shape, c.weights());
      for (const size_t tokens : {0, 1, 5, 70}) {
        for (const size_t threads : {1, 3}) {
          ThreadPool pool(threads);
          const std::vector<float> x = RandomNormal(tokens * shape.in_width, 1.0f, 5);
          std::vector<float> expected(tokens * shape.out_width), y(expected.size() + 1, NAN);
          std::vector<uint32_t> leaves(tokens * shape.paths), expected_leaves(leaves.size());
          std::vector<float> gates(leaves.size()), expected_gates(leaves.size());
          const LeafTreeTrace trace{leaves.data(), gates.data()};
          const LeafTreeTrace expected_trace{expected_leaves.data(), expected_gates.data()};
          y.back() = 42.0f;  // guard
          LeafTreeForwardReference(shape, c.weights(), x.data(), tokens, expected.data(), &expected_trace);
          LeafTreeForward(packed, x.data(), tokens, y.data(), &trace, pool);
          EXPECT_EQ(y.back(), 42.0f);
          y.pop_back();
          EXPECT_EQ(leaves, expected_leaves);
          EXPECT_LT(RelativeError(gates, expected_gates), 1e-5);
          EXPECT_LT(RelativeError(y, expected), 1e-5) << "in " << shape.in_width << " paths " << shape.paths;
        }
      }
    }
  });
}

TEST(LeafTreeForward, DoesNotDependOnBatchOrThreads) {
  for (const size_t depth : {4, 7, 9, 10, 11}) {
    const LeafTreeShape shape{.in_width = 50, .leaf_width = 4, .out_width = 30, .depth = depth, .paths = 3};
    const LeafTreeCase c(shape);
    const PackedLeafTree packed(shape, c.weights());
    const size_t tokens = 100;
    const std::vector<float> x = RandomNormal(tokens * shape.in_width, 1.0f, 5);
    std::vector<float> together(tokens * shape.out_width), alone(together.size());
    OnEveryTarget([&] {
      ThreadPool three(3), one(1);
      LeafTreeForward(packed, x.data(), tokens, together.data(), nullptr, three);
      for (size_t t = 0; t < tokens; ++t) {
        LeafTreeForward(packed, x.data() + t * shape.in_width, 1, alone.data() + t * shape.out_width, nullptr, one);
      }
      EXPECT_EQ(together, alone) << "depth " << depth;
    });
  }
}

TEST(LeafTreeForward, AllPathsIsTheSoftForm) {
  LeafTreeShape shape{.in_width = 12, .leaf_width = 5, .out_width = 9, .depth = 3, .paths = 2};
  const LeafTreeCase c(shape);
  const size_t tokens = 20;
  const std::vector<float> x = RandomNormal(tokens * shape.in_width, 1.0f, 5);
  std::vector<float> soft(tokens * shape.out_width), y(soft.size());
  LeafTreeSoftReference(shape, c.weights(), x.data(), tokens, soft.data());
  shape.paths = shape.leaves();
  ThreadPool pool(1);
  LeafTreeForward(PackedLeafTree(shape, c.weights()), x.data(), tokens, y.data(), nullptr, pool);
  EXPECT_LT(RelativeError(y, soft), 1e-5);
}

TEST(LeafTreeForward, TiesGoLeft) {
  for (const auto& [depth, paths] :
       {std::pair<size_t, size_t>{3, 1}, {3, 3}, {7, 5}, {7, 40}, {9, 5}, {10, 5}, {11, 4}}) {
    const LeafTreeShape shape{.in_width = 4, .leaf_width = 2, .out_width = 4, .depth = depth, .paths = paths};
    LeafTreeCase c(shape);
    std::fill(c.node_biases.begin(), c.node_biases.end(), 0.0f);
    const std::vector<float> x(4, 0.0f);  // every decision is a tie, every leaf equally likely
    std::vector<float> y(4), gates(paths);
    std::vector<uint32_t> leaves(paths), expected(paths);
    for (size_t s = 0; s < paths; ++s) expected[s] = static_cast<uint32_t>(s);
    const LeafTreeTrace trace{leaves.data(), gates.data()};
    LeafTreeForwardReference(shape, c.weights(), x.data(), 1, y.data(), &trace);
    EXPECT_EQ(leaves, expected);
    const PackedLeafTree packed(shape, c.weights());
    OnEveryTarget([&] {
      ThreadPool pool(1);
      LeafTreeForward(packed, x.data(), 1, y.data(), &trace, pool);
      EXPECT_EQ(leaves, expected);
      for (const float gate : gates) EXPECT_FLOAT_EQ(gate, 1.0f / static_cast<float>(shape.paths));
    });
  }
}

// What a broken model gives stays within the tree.
TEST(LeafTreeForward, InputsThatAreNoNumbersChooseLeaves) {
  for (const auto& [depth, paths] : {std::pair<size_t, size_t>{3, 1}, {5, 4}, {7, 8}, {7, 20}, {9, 2}, {11, 4}}) {
    const LeafTreeShape shape{.in_width = 8, .leaf_width = 2, .out_width = 8, .depth = depth, .paths = paths};
    const LeafTreeCase c(shape);
    const PackedLeafTree packed(shape, c.weights());
    for (const float value : {NAN, INFINITY, 1e38f}) {
      const std::vector<float> x(3 * 8, value);
      std::vector<float> y(3 * 8), gates(3 * paths);
      OnEveryTarget([&] {
        std::vector<uint32_t> leaves(3 * paths, ~uint32_t{0});
        const LeafTreeTrace trace{leaves.data(), gates.data()};
        ThreadPool pool(1);
        LeafTreeForward(packed, x.data(), 3, y.data(), &trace, pool);
        for (const uint32_t leaf : leaves) EXPECT_LT(leaf, shape.leaves()) << "depth " << depth << " of " << value;
      });
    }
  }
}

// Decisions so certain that a sigmoid in float is exactly 0 or 1: logarithms keep the order.
TEST(LeafTreeForward, CertainDecisionsStayFinite) {
  for (const size_t depth : {5, 7, 9, 10, 11}) {
    const LeafTreeShape shape{
        .in_width = 8, .leaf_width = 4, .out_width = 8, .depth = depth, .paths = 4, .decision_scale = 1000.0f};
    const LeafTreeCase c(shape);
    const std::vector<float> x = RandomNormal(10 * shape.in_width, 10.0f, 5);
    std::vector<float> expected(10 * shape.out_width), y(expected.size());
    LeafTreeForwardReference(shape, c.weights(), x.data(), 10, expected.data(), nullptr);
    OnEveryTarget([&] {
      ThreadPool pool(1);
      LeafTreeForward(PackedLeafTree(shape, c.weights()), x.data(), 10, y.data(), nullptr, pool);
      EXPECT_LT(RelativeError(y, expected), 1e-5) << "depth " << depth;
    });
  }
}

// A model that computes garbage must not make the search leave the tree.
TEST(LeafTreeForward, InputThatIsNoNumberStaysInTheTree) {
  for (const size_t depth : {4, 7, 9, 10, 11}) {
    const LeafTreeShape shape{.in_width = 6, .leaf_width = 2, .out_width = 6, .depth = depth, .paths = 5};
    const LeafTreeCase c(shape);
    const std::vector<float> x(3 * shape.in_width, NAN);
    std::vector<uint32_t> leaves(3 * shape.paths);
    std::vector<float> gates(leaves.size());
    OnEveryTarget([&] {
      ThreadPool pool(1);
      RouteLeaves(PackedLeafRouter(shape.router(), c.weights().router()), x.data(), 3, {leaves.data(), gates.data()},
                  pool);
      for (const uint32_t leaf : leaves) EXPECT_LT(leaf, shape.leaves());
    });
  }
}

TEST(LeafTreeBackward, EqualsReferenceOnEveryTargetAndThreadCount) {
  OnEveryTarget([] {
    for (const LeafTreeShape& shape : Shapes()) {
      const LeafTreeCase c(shape, 13);
      const PackedLeafTree packed(shape, c.weights());
      for (const size_t tokens : {0, 1, 40}) {
        const std::vector<float> x = RandomNormal(tokens * shape.in_width, 1.0f, 7);
        const std::vector<float> dy = RandomNormal(tokens * shape.out_width, 1.0f, 8);
        std::vector<float> y(dy.size()), gates(tokens * shape.paths), first;
        std::vector<uint32_t> leaves(gates.size());
        const LeafTreeTrace trace{leaves.data(), gates.data()};
        for (const size_t threads : {1, 3}) {
          ThreadPool pool(threads);
          LeafTreeGradientBuffers expected(shape, tokens), actual(shape, tokens);
          LeafTreeForward(packed, x.data(), tokens, y.data(), &trace, pool);
          LeafTreeBackwardReference(shape, c.weights(), x.data(), trace, dy.data(), tokens, expected.view());
          LeafTreeBackward(packed, x.data(), trace, dy.data(), tokens, actual.view(), pool);
          EXPECT_LT(RelativeError(actual.dx, expected.dx), 1e-5);
          EXPECT_LT(RelativeError(actual.dnode_weights, expected.dnode_weights), 1e-5);
          EXPECT_LT(RelativeError(actual.dnode_biases, expected.dnode_biases), 1e-5);
          EXPECT_LT(RelativeError(actual.dw1, expected.dw1), 1e-5);
          EXPECT_LT(RelativeError(actual.db1, expected.db1), 1e-5);
          EXPECT_LT(RelativeError(actual.dw2, expected.dw2), 1e-5);
          EXPECT_LT(RelativeError(actual.db2, expected.db2), 1e-5);
          if (first.empty()) first = actual.dw1;
          EXPECT_EQ(first, actual.dw1) << "depends on the number of threads";
        }
      }
    }
  });
}

// Differences of the reference's forward pass, over x and every weight array; the chosen leaves do not change nearby.
TEST(LeafTreeBackward, ReferenceEqualsDifferences) {
  for (const size_t paths : {1, 3, 8}) {
    const LeafTreeShape shape{
        .in_width = 5, .leaf_width = 3, .out_width = 4, .depth = 3, .paths = paths, .decision_scale = 2.0f};
    LeafTreeCase c(shape, 17);
    const size_t tokens = 2;
    std::vector<float> x = RandomNormal(tokens * shape.in_width, 1.0f, 9), y(tokens * shape.out_width);
    const std::vector<float> dy = RandomNormal(y.size(), 1.0f, 10);
    std::vector<uint32_t> leaves(tokens * paths);
    std::vector<float> gates(leaves.size());
    const LeafTreeTrace trace{leaves.data(), gates.data()};
    LeafTreeForwardReference(shape, c.weights(), x.data(), tokens, y.data(), &trace);
    LeafTreeGradientBuffers g(shape, tokens);
    LeafTreeBackwardReference(shape, c.weights(), x.data(), trace, dy.data(), tokens, g.view());
    const auto loss = [&] {
      LeafTreeForwardReference(shape, c.weights(), x.data(), tokens, y.data(), nullptr);
      double sum = 0;
      for (size_t i = 0; i < y.size(); ++i) sum += double{y[i]} * dy[i];
      return sum;
    };
    const auto check = [&](std::vector<float>& values, const std::vector<float>& gradient, const char* name) {
      for (size_t i = 0; i < values.size(); ++i) {
        const float kept = values[i], step = 1e-3f;
        values[i] = kept + step;
        const double above = loss();
        values[i] = kept - step;
        const double below = loss();
        values[i] = kept;
        EXPECT_NEAR((above - below) / (2 * step), gradient[i], 3e-3 * (1 + std::abs(gradient[i]))) << name << i;
      }
    };
    check(x, g.dx, "x ");
    check(c.node_weights, g.dnode_weights, "node_weights ");
    check(c.node_biases, g.dnode_biases, "node_biases ");
    check(c.w1, g.dw1, "w1 ");
    check(c.b1, g.db1, "b1 ");
    check(c.w2, g.dw2, "w2 ");
    check(c.b2, g.db2, "b2 ");
  }
}

}  // namespace
}  // namespace grove
