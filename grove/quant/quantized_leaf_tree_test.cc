// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/quantized_leaf_tree.h"

#include <gtest/gtest.h>

#include <cmath>

#include "grove/kernels/test_cases.h"

namespace grove {
namespace {

using test::LeafTreeCase;
using test::OnEveryTarget;
using test::RandomNormal;
using test::RelativeError;

// One path, some, all; depths around those whose decisions are computed whole; widths that straddle rows.
std::vector<LeafTreeShape> Shapes() {
  std::vector<LeafTreeShape> shapes;
  const auto add = [&](size_t in, size_t hidden, size_t out, size_t depth, size_t paths, float scale) {
    shapes.push_back({.in_width = in,
                      .leaf_width = hidden,
                      .out_width = out,
                      .depth = depth,
                      .paths = paths,
                      .decision_scale = scale,
                      .activation = Activation::kGelu});
  };
  add(5, 3, 4, 0, 1, 1.0f);
  add(17, 16, 33, 3, 3, 4.0f);
  add(64, 8, 64, 4, 16, 1.0f);
  add(96, 20, 96, 5, 4, 4.0f);
  add(130, 16, 64, 7, 4, 2.0f);
  add(33, 1, 16, 8, 2, 1.0f);
  add(40, 1, 40, 9, 12, 2.0f);
  add(24, 1, 24, 10, 5, 1.0f);
  add(24, 1, 24, 9, 1, 1.0f);
  return shapes;
}

QuantizedLeafTree Quantized(const LeafTreeShape& shape, const LeafTreeCase& c,
                            Quantization precision = Quantization::kInt8) {
  return {QuantizedLeafRouter(shape.router(), c.weights().router(), precision),
          QuantizedExperts(shape.experts(), c.weights().experts(), precision)};
}

std::vector<float> Forwarded(const QuantizedLeafTree& tree, const std::vector<float>& x, size_t threads) {
  ThreadPool pool(threads);
  const size_t tokens = x.size() / tree.leaves.shape().in_width;
  std::vector<float> y(tokens * tree.leaves.shape().out_width, NAN);
  LeafTreeForward(tree, x.data(), tokens, y.data(), pool);
  return y;
}

void ExpectReference(const LeafTreeShape& shape, Quantization precision) {
  const LeafTreeCase c(shape, 3);
  const QuantizedLeafTree tree = Quantized(shape, c, precision);
  for (const size_t tokens : {0, 1, 5, 70}) {
    const std::vector<float> x = RandomNormal(tokens * shape.in_width, 1.0f, 5);
    std::vector<float> expected(tokens * shape.out_width);
    LeafTreeReference(shape.router(), c.weights().router(), shape.experts(), c.weights().experts(), precision, x.data(),
                      tokens, expected.data());
    EXPECT_LT(RelativeError(Forwarded(tree, x, 2), expected), 4e-3)
        << QuantizationName(precision) << " in " << shape.in_width << " depth " << shape.depth;
  }
}

TEST(QuantizedLeafTree, EqualsReferenceOnEveryTarget) {
  OnEveryTarget([] {
    for (const LeafTreeShape& shape : Shapes()) {
      ExpectReference(shape, Quantization::kBf16);
      ExpectReference(shape, Quantization::kInt8);
    }
  });
}

// The same on three threads and token by token as on one thread.
std::vector<float> InAnyBatch(const QuantizedLeafTree& tree, const std::vector<float>& x) {
  std::vector<float> together = Forwarded(tree, x, 1);
  EXPECT_EQ(Forwarded(tree, x, 3), together);
  std::vector<float> alone;
  const auto width = static_cast<ptrdiff_t>(tree.leaves.shape().in_width);
  for (auto row = x.begin(); row != x.end(); row += width) {
    const std::vector<float> y = Forwarded(tree, {row, row + width}, 1);
    alone.insert(alone.end(), y.begin(), y.end());
  }
  EXPECT_EQ(alone, together);
  return together;
}

TEST(QuantizedLeafTree, HasTheSameBitsInEveryBatchAndInInt8OnEveryTarget) {
  for (const LeafTreeShape& shape : Shapes()) {
    SCOPED_TRACE(shape.depth);
    const LeafTreeCase c(shape, 3);
    const QuantizedLeafTree bf16 = Quantized(shape, c, Quantization::kBf16), int8 = Quantized(shape, c);
    const std::vector<float> x = RandomNormal(100 * shape.in_width, 1.0f, 5), best = Forwarded(int8, x, 1);
    OnEveryTarget([&] {
      InAnyBatch(bf16, x);
      EXPECT_EQ(InAnyBatch(int8, x), best);
    });
  }
}

void ExpectTiesGoLeft(size_t depth, size_t paths) {
  const LeafTreeShape shape{.in_width = 4, .leaf_width = 2, .out_width = 4, .depth = depth, .paths = paths};
  LeafTreeCase c(shape);
  std::fill(c.node_biases.begin(), c.node_biases.end(), 0.0f);
  const QuantizedLeafRouter router(shape.router(), c.weights().router(), Quantization::kInt8);
  const std::vector<float> nothing(4, 0.0f);  // every decision is a tie, every leaf equally likely
  EncodedRows x;
  x.Resize(1, 1, Quantization::kInt8, EncodedRows::ScaleInRow::kYes);
  x.Encode(0, nothing.data(), 4);
  std::vector<uint32_t> leaves(paths);
  std::vector<float> gates(paths);
  RouteLeaves(router, x, 1, {leaves.data(), gates.data()});
  for (size_t s = 0; s < paths; ++s) EXPECT_EQ(leaves[s], s) << "depth " << depth << ", " << paths << " paths";
}

TEST(QuantizedLeafTree, TiesGoLeft) {
  OnEveryTarget([] {
    ExpectTiesGoLeft(3, 1);
    ExpectTiesGoLeft(3, 3);
    ExpectTiesGoLeft(7, 4);
    ExpectTiesGoLeft(7, 40);
    ExpectTiesGoLeft(9, 5);
    ExpectTiesGoLeft(11, 4);
  });
}

TEST(QuantizedLeafTree, IsNearTheFloatTree) {
  const LeafTreeShape shape{.in_width = 256, .leaf_width = 16, .out_width = 256, .depth = 5, .paths = 4};
  const LeafTreeCase c(shape);
  const std::vector<float> x = RandomNormal(64 * shape.in_width, 1.0f, 5);
  std::vector<float> expected(x.size());
  LeafTreeForwardReference(shape, c.weights(), x.data(), 64, expected.data(), nullptr);
  for (const auto& [precision, most] : {std::pair{Quantization::kBf16, 0.03}, {Quantization::kInt8, 0.1}}) {
    const std::vector<float> y = Forwarded(Quantized(shape, c, precision), x, 1);
    double error = 0, size = 0;  // on average: a token that takes another leaf has another output
    for (size_t i = 0; i < y.size(); ++i) error += std::pow(y[i] - expected[i], 2), size += std::pow(expected[i], 2);
    EXPECT_LT(std::sqrt(error / size), most) << QuantizationName(precision);
  }
}

}  // namespace
}  // namespace grove
