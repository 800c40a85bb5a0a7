// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/quantized_experts.h"

#include <gtest/gtest.h>

#include "grove/kernels/test_cases.h"

namespace grove {
namespace {

using test::ExpertsCase;
using test::OnEveryTarget;
using test::RandomChoices;
using test::RandomNormal;
using test::RelativeError;

struct Routed {
  Routed(const ExpertsShape& s, size_t n, size_t token_count, uint64_t seed = 5)
      : shape(s),
        tokens(token_count),
        per_token(n),
        x(RandomNormal(token_count * s.in_width, 1.0f, seed)),
        chosen(RandomChoices(token_count, s.experts, n, seed + 1)),
        gates(token_count * n) {
    for (size_t i = 0; i < gates.size(); ++i) gates[i] = 0.1f + 0.2f * static_cast<float>(i % 4);
  }
  ExpertChoices choices() const { return {chosen.data(), gates.data(), per_token}; }
  std::vector<float> Run(const QuantizedExperts& experts, size_t threads) const {
    ThreadPool pool(threads);
    std::vector<float> y(tokens * shape.out_width, NAN);
    GatedExpertsForward(experts, x.data(), tokens, choices(), y.data(), pool);
    return y;
  }
  ExpertsShape shape;
  size_t tokens, per_token;
  std::vector<float> x;
  std::vector<uint32_t> chosen;
  std::vector<float> gates;
};

std::vector<ExpertsShape> Shapes() {
  return {{.experts = 1, .in_width = 1, .hidden_width = 1, .out_width = 1},
          {.experts = 3, .in_width = 7, .hidden_width = 5, .out_width = 9},
          {.experts = 4, .in_width = 64, .hidden_width = 32, .out_width = 64, .activation = Activation::kRelu},
          {.experts = 2, .in_width = 130, .hidden_width = 70, .out_width = 50}};
}

// Sums in floats instead of double may round a hidden value to the next bfloat16 or the next integer: one step of it.
TEST(QuantizedExperts, EqualReferenceOnEveryTarget) {
  for (const Quantization precision : {Quantization::kBf16, Quantization::kInt8}) {
    SCOPED_TRACE(QuantizationName(precision));
    OnEveryTarget([&] {
      for (const ExpertsShape& shape : Shapes()) {
        const ExpertsCase c(shape, 3);
        const QuantizedExperts experts(shape, c.weights(), precision);
        for (const size_t tokens : {0, 1, 40}) {
          const Routed routed(shape, std::min<size_t>(2, shape.experts), tokens);
          std::vector<float> expected(tokens * shape.out_width);
          QuantizedExpertsReference(shape, c.weights(), precision, routed.x.data(), tokens, routed.choices(),
                                    expected.data());
          EXPECT_LT(RelativeError(routed.Run(experts, 2), expected), 4e-3) << "in_width " << shape.in_width;
        }
      }
    });
  }
}

TEST(QuantizedExperts, DoNotDependOnBatchOrThreads) {
  const ExpertsShape shape{.experts = 5, .in_width = 48, .hidden_width = 20, .out_width = 33};
  const ExpertsCase c(shape);
  const Routed routed(shape, 2, 100);
  for (const Quantization precision : {Quantization::kBf16, Quantization::kInt8}) {
    const QuantizedExperts experts(shape, c.weights(), precision);
    OnEveryTarget([&] {
      ThreadPool one(1);
      std::vector<float> alone(routed.tokens * shape.out_width);
      for (size_t t = 0; t < routed.tokens; ++t) {
        GatedExpertsForward(experts, routed.x.data() + t * shape.in_width, 1,
                            {routed.chosen.data() + 2 * t, routed.gates.data() + 2 * t, 2},
                            alone.data() + t * shape.out_width, one);
      }
      EXPECT_EQ(routed.Run(experts, 1), alone);
      EXPECT_EQ(routed.Run(experts, 3), alone);
    });
  }
}

TEST(QuantizedExperts, Int8IsTheSameOnEveryTarget) {
  for (const ExpertsShape& shape : Shapes()) {
    const ExpertsCase c(shape);
    const QuantizedExperts experts(shape, c.weights(), Quantization::kInt8);
    const Routed routed(shape, 1, 60);
    const std::vector<float> best = routed.Run(experts, 1);
    OnEveryTarget([&] { EXPECT_EQ(routed.Run(experts, 1), best); });
  }
}

TEST(QuantizedExperts, AreNearTheFloatExperts) {
  const ExpertsShape shape{.experts = 4, .in_width = 256, .hidden_width = 64, .out_width = 256};
  const ExpertsCase c(shape);
  const Routed routed(shape, 2, 30);
  const std::vector<double> gates(routed.gates.begin(), routed.gates.end());
  std::vector<float> expected(30 * shape.out_width);
  GatedExpertsReference(shape, c.weights(), routed.x.data(), 30, routed.chosen.data(), gates.data(), 2,
                        expected.data());
  EXPECT_LT(RelativeError(routed.Run(QuantizedExperts(shape, c.weights(), Quantization::kBf16), 1), expected), 0.01);
  EXPECT_LT(RelativeError(routed.Run(QuantizedExperts(shape, c.weights(), Quantization::kInt8), 1), expected), 0.03);
}

}  // namespace
}  // namespace grove
