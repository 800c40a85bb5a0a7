// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/quantized_neuron_tree.h"

#include <gtest/gtest.h>

#include "grove/kernels/test_cases.h"

namespace grove {
namespace {

using test::NeuronTreeCase;
using test::OnEveryTarget;
using test::RandomNormal;
using test::RelativeError;

std::vector<NeuronTreeShape> Shapes() {
  std::vector<NeuronTreeShape> shapes;
  for (const bool two_sided : {false, true}) {
    shapes.push_back({.width = 1, .trees = 1, .depth = 2, .two_sided = two_sided});
    shapes.push_back({.width = 7, .trees = 3, .depth = 0, .activation = Activation::kRelu, .two_sided = two_sided});
    shapes.push_back({.width = 64, .trees = 2, .depth = 4, .two_sided = two_sided});
    shapes.push_back({.width = 100, .trees = 1, .depth = 7, .activation = Activation::kRelu, .two_sided = two_sided});
    shapes.push_back({.width = 320, .trees = 2, .depth = 5, .two_sided = two_sided});
  }
  return shapes;
}

std::vector<float> Output(const QuantizedNeuronTree& tree, const std::vector<float>& x, size_t tokens, size_t threads) {
  ThreadPool pool(threads);
  std::vector<float> y(x.size() + 1, NAN);
  y.back() = 42.0f;  // guard
  NeuronTreeForward(tree, x.data(), tokens, y.data(), pool);
  EXPECT_EQ(y.back(), 42.0f);
  y.pop_back();
  return y;
}

// What the reference computes in double, the kernels compute in floats: 1e-5 for bf16 and for the floats of int8. A
// value that falls between two integers or two bfloat16 may then round the other way: one step of a hidden value.
TEST(QuantizedNeuronTree, EqualsReferenceOnEveryTarget) {
  for (const Quantization precision : {Quantization::kBf16, Quantization::kInt8}) {
    SCOPED_TRACE(QuantizationName(precision));
    const double tolerance = precision == Quantization::kInt8 ? 8e-3 : 4e-3;
    OnEveryTarget([&] {
      for (const NeuronTreeShape& shape : Shapes()) {
        for (const bool bias : {true, false}) {
          const NeuronTreeCase c(shape, 11, bias);
          const QuantizedNeuronTree tree(shape, c.weights(), precision);
          for (const size_t tokens : {0, 1, 5, 200}) {
            const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 5);
            std::vector<float> expected(x.size());
            QuantizedNeuronTreeReference(shape, c.weights(), precision, x.data(), tokens, expected.data());
            EXPECT_LT(RelativeError(Output(tree, x, tokens, 2), expected), tolerance) << "width " << shape.width;
          }
        }
      }
    });
  }
}

TEST(QuantizedNeuronTree, IsNearTheFloatTree) {
  const NeuronTreeShape shape{.width = 256, .trees = 4, .depth = 0};  // no decision that could turn
  const NeuronTreeCase c(shape, 3);
  const std::vector<float> x = RandomNormal(50 * shape.width, 1.0f, 5);
  std::vector<float> expected(x.size());
  NeuronTreeForwardReference(shape, c.weights(), x.data(), 50, expected.data(), nullptr);
  const QuantizedNeuronTree bf16(shape, c.weights(), Quantization::kBf16),
      int8(shape, c.weights(), Quantization::kInt8);
  EXPECT_LT(RelativeError(Output(bf16, x, 50, 1), expected), 0.01);
  EXPECT_LT(RelativeError(Output(int8, x, 50, 1), expected), 0.03);
  EXPECT_LT(int8.bytes(), bf16.bytes());
}

TEST(QuantizedNeuronTree, DoesNotDependOnBatchThreadsOrGrouping) {
  for (const auto& [precision, trees] : {std::pair<Quantization, size_t>{Quantization::kBf16, 3},
                                         {Quantization::kBf16, 7},  // all threads together
                                         {Quantization::kInt8, 3},
                                         {Quantization::kInt8, 7}}) {
    const NeuronTreeShape shape{.width = 80, .trees = trees, .depth = 6, .two_sided = trees == 3};
    const NeuronTreeCase c(shape);
    const QuantizedNeuronTree tree(shape, c.weights(), precision);
    const size_t tokens = 500;
    const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 5);
    OnEveryTarget([&] {
      std::vector<float> alone;
      for (size_t t = 0; t < tokens; ++t) {
        const auto first = x.begin() + static_cast<ptrdiff_t>(t * shape.width);
        const std::vector<float> y = Output(tree, {first, first + ptrdiff_t(shape.width)}, 1, 1);
        alone.insert(alone.end(), y.begin(), y.end());
      }
      EXPECT_EQ(Output(tree, x, tokens, 1), alone);
      EXPECT_EQ(Output(tree, x, tokens, 3), alone);
    });
  }
}

TEST(QuantizedNeuronTree, Int8IsTheSameOnEveryTarget) {
  for (const NeuronTreeShape& shape : Shapes()) {
    const NeuronTreeCase c(shape, 7);
    const QuantizedNeuronTree tree(shape, c.weights(), Quantization::kInt8);
    const std::vector<float> x = RandomNormal(300 * shape.width, 2.0f, 5);
    const std::vector<float> best = Output(tree, x, 300, 1);
    OnEveryTarget([&] { EXPECT_EQ(Output(tree, x, 300, 1), best); });
  }
}

TEST(QuantizedNeuronTree, ZeroTokensOfZerosAreFinite) {
  const NeuronTreeShape shape{.width = 64, .trees = 1, .depth = 2};
  const NeuronTreeCase c(shape, 7, false);
  const std::vector<float> x(2 * shape.width, 0.0f);
  for (const Quantization precision : {Quantization::kBf16, Quantization::kInt8}) {
    const QuantizedNeuronTree tree(shape, c.weights(), precision);
    EXPECT_EQ(Output(tree, x, 2, 1), x);
  }
}

}  // namespace
}  // namespace grove
