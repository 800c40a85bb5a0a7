// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/gathered_neurons.h"

#include <gtest/gtest.h>

#include "grove/kernels/test_cases.h"

namespace grove {
namespace {

using test::NeuronsCase;
using test::OnEveryTarget;
using test::RandomNormal;
using test::RelativeError;

// With repetitions.
std::vector<uint32_t> AnyChoices(size_t count, size_t neurons) {
  std::vector<uint32_t> chosen(count);
  for (size_t i = 0; i < count; ++i) chosen[i] = static_cast<uint32_t>((i * i * 7 + i / 5) % neurons);
  return chosen;
}

TEST(GatheredNeuronsForward, EqualsReferenceOnEveryTarget) {
  OnEveryTarget([] {
    for (const bool two_sided : {false, true}) {
      for (const size_t width : {1, 17, 64, 200}) {
        for (const size_t per_token : {1, 5, 37}) {
          const NeuronsShape shape{.neurons = 25,
                                   .width = width,
                                   .activation = per_token == 5 ? Activation::kRelu : Activation::kGelu,
                                   .two_sided = two_sided};
          const NeuronsCase c(shape);
          const bool gated = per_token != 1;
          const auto layout = width == 17 ? NeuronsWeights::Out::kByColumn : NeuronsWeights::Out::kByNeuron;
          const NeuronsWeights weights = c.weights(layout, /*with_bias=*/width != 64);
          const PackedNeurons packed(shape, weights);
          for (const size_t tokens : {0, 1, 40}) {
            ThreadPool pool(tokens == 40 ? 3 : 1);
            const std::vector<float> x = RandomNormal(tokens * width, 1.0f, 5);
            const std::vector<uint32_t> chosen = AnyChoices(tokens * per_token, shape.neurons);
            const std::vector<float> gates = RandomNormal(chosen.size(), 1.0f, 6);
            const std::vector<double> exact(gates.begin(), gates.end());
            std::vector<float> expected(x.size()), y(x.size() + 1, NAN);
            y.back() = 42.0f;  // guard
            GatheredNeuronsReference(shape, weights, x.data(), tokens, chosen.data(), gated ? exact.data() : nullptr,
                                     per_token, expected.data());
            GatheredNeuronsForward(packed, x.data(), tokens, {chosen.data(), gated ? gates.data() : nullptr, per_token},
                                   y.data(), pool);
            EXPECT_EQ(y.back(), 42.0f);
            y.pop_back();
            EXPECT_LT(RelativeError(y, expected), 1e-5) << "width " << width << ", " << per_token << " a token";
          }
        }
      }
    }
  });
}

TEST(GatheredNeuronsForward, DoesNotDependOnBatchOrThreads) {
  const NeuronsShape shape{.neurons = 30, .width = 50};
  const NeuronsCase c(shape);
  const PackedNeurons packed(shape, c.weights(NeuronsWeights::Out::kByNeuron, false));
  const size_t tokens = 100, n = 7;
  const std::vector<float> x = RandomNormal(tokens * shape.width, 1.0f, 5);
  const std::vector<uint32_t> chosen = AnyChoices(tokens * n, shape.neurons);
  const std::vector<float> gates = RandomNormal(chosen.size(), 1.0f, 6);
  std::vector<float> together(x.size()), alone(x.size());
  OnEveryTarget([&] {
    ThreadPool three(3), one(1);
    GatheredNeuronsForward(packed, x.data(), tokens, {chosen.data(), gates.data(), n}, together.data(), three);
    for (size_t t = 0; t < tokens; ++t) {
      GatheredNeuronsForward(packed, x.data() + t * shape.width, 1, {chosen.data() + t * n, gates.data() + t * n, n},
                             alone.data() + t * shape.width, one);
    }
    EXPECT_EQ(together, alone);
  });
}

}  // namespace
}  // namespace grove
