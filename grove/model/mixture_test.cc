// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Mixtures of experts and product keys as layers: against their references on every instruction set, and whatever
// shares a call with a token.
#include "grove/model/mixture.h"

#include <gtest/gtest.h>

#include "grove/kernels/test_cases.h"
#include "grove/model/product_key.h"

namespace grove {
namespace {

using test::OnEveryTarget;
using test::RandomNormal;
using test::RelativeError;

struct MixtureCase {
  explicit MixtureCase(const MixtureShape& s)
      : shape(s), experts(s.experts, 3), router(RandomNormal(s.experts.experts * s.experts.in_width, 0.3f, 9)) {}
  MixtureWeights weights() const { return {router.data(), experts.weights()}; }
  MixtureShape shape;
  test::ExpertsCase experts;
  std::vector<float> router;
};

struct ProductKeyCase {
  explicit ProductKeyCase(const ProductKeyShape& s)
      : shape(s),
        neurons(s.neurons(), 3),
        query(RandomNormal(s.heads * s.key_width * s.width, 0.2f, 10)),
        norm_weight(RandomNormal(s.key_width, 1.0f, 11)),
        norm_bias(RandomNormal(s.key_width, 0.3f, 12)),
        sub_keys(RandomNormal(2 * s.sub_keys * s.half(), 0.7f, 13)) {}
  ProductKeyWeights weights() const {
    return {query.data(), norm_weight.data(), norm_bias.data(), sub_keys.data(), neurons.in.data(), neurons.out.data()};
  }
  ProductKeyShape shape;
  test::NeuronsCase neurons;
  std::vector<float> query, norm_weight, norm_bias, sub_keys;
};

// layer(x, tokens, y, pool) against reference(x, tokens, y), and no output written beyond y.
template <class Layer, class Reference>
void ExpectReference(size_t width, const Layer& layer, const Reference& reference) {
  for (const size_t tokens : {0, 1, 5, 600}) {
    ThreadPool pool(tokens == 600 ? 3 : 1);
    const std::vector<float> x = RandomNormal(tokens * width, 1.0f, 5);
    std::vector<float> expected(x.size()), y(x.size() + 1, NAN);
    y.back() = 42.0f;  // guard
    reference(x.data(), tokens, expected.data());
    layer(x.data(), tokens, y.data(), pool);
    EXPECT_EQ(y.back(), 42.0f);
    y.pop_back();
    EXPECT_LT(RelativeError(y, expected), 2e-5) << tokens << " tokens, width " << width;
  }
}

// The same token alone and among others, by one thread and by three.
template <class Layer>
void ExpectIndependence(size_t width, const Layer& layer) {
  const size_t tokens = 300;
  const std::vector<float> x = RandomNormal(tokens * width, 1.0f, 5);
  std::vector<float> together(x.size()), one_thread(x.size()), alone(x.size());
  ThreadPool three(3), one(1);
  layer(x.data(), tokens, together.data(), three);
  layer(x.data(), tokens, one_thread.data(), one);
  EXPECT_EQ(together, one_thread);
  for (size_t t = 0; t < tokens; ++t) layer(x.data() + t * width, 1, alone.data() + t * width, one);
  EXPECT_LT(RelativeError(alone, together), 1e-5);
}

TEST(Mixture, EqualsReferenceOnEveryTarget) {
  OnEveryTarget([] {
    for (const Gates gates : {Gates::kRenormalized, Gates::kProbability}) {
      for (const size_t per_token : {1, 4, 9}) {
        const MixtureShape shape{.experts = {.experts = 9,
                                             .in_width = 20,
                                             .hidden_width = 7,
                                             .out_width = 20,
                                             .activation = Activation::kGelu},
                                 .per_token = per_token,
                                 .gates = gates};
        const MixtureCase c(shape);
        ThreadPool pool(1);
        const Mixture mixture(shape, c.weights(), pool);
        ExpectReference(
            20, [&](const float* x, size_t n, float* y, ThreadPool& team) { mixture.Forward(x, n, y, team); },
            [&](const float* x, size_t n, float* y) { MixtureReference(shape, c.weights(), x, n, y); });
      }
    }
  });
}

TEST(Mixture, DoesNotDependOnBatchOrThreads) {
  const MixtureShape shape{.experts = {.experts = 12, .in_width = 50, .hidden_width = 8, .out_width = 50},
                           .per_token = 3};
  const MixtureCase c(shape);
  ThreadPool pool(3);
  const Mixture mixture(shape, c.weights(), pool);
  ExpectIndependence(50, [&](const float* x, size_t n, float* y, ThreadPool& team) { mixture.Forward(x, n, y, team); });
}

TEST(ProductKey, EqualsReferenceOnEveryTarget) {
  const ProductKeyShape shapes[] = {
      {.width = 20, .heads = 2, .sub_keys = 6, .key_width = 10, .per_head = 3},
      {.width = 33, .heads = 1, .sub_keys = 1, .key_width = 2, .per_head = 1, .activation = Activation::kRelu},
      {.width = 48, .heads = 4, .sub_keys = 20, .key_width = 32, .per_head = 16}};
  OnEveryTarget([&] {
    for (const ProductKeyShape& shape : shapes) {
      const ProductKeyCase c(shape);
      ThreadPool pool(1);
      const ProductKey layer(shape, c.weights(), pool);
      ExpectReference(
          shape.width, [&](const float* x, size_t n, float* y, ThreadPool& team) { layer.Forward(x, n, y, team); },
          [&](const float* x, size_t n, float* y) { ProductKeyReference(shape, c.weights(), x, n, y); });
    }
  });
}

TEST(ProductKey, DoesNotDependOnBatchOrThreads) {
  const ProductKeyShape shape{.width = 50, .heads = 3, .sub_keys = 9, .key_width = 12, .per_head = 4};
  const ProductKeyCase c(shape);
  ThreadPool pool(3);
  const ProductKey layer(shape, c.weights(), pool);
  ExpectIndependence(50, [&](const float* x, size_t n, float* y, ThreadPool& team) { layer.Forward(x, n, y, team); });
}

}  // namespace
}  // namespace grove
