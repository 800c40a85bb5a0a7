// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Every kind and mode of feedforward layer: the masked dense form and the sparse forms against numerical derivatives in
// double, the kernels against numerical derivatives in float, all forms against each other, what they record, and the
// regularizers against their definitions. What single routers promise is in routing_test.cc.
#include "grove/nn/feed_forward.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "grove/nn/layers_for_test.h"

namespace grove::nn {
namespace {

using test::kWidth;
using test::LayerCase;

std::shared_ptr<FeedForward> MakeIn(TreeForm form, const LayerCase& test, double balance = 0.3, double hardening = 0.3,
                                    size_t threads = 1) {
  ModuleOptions options = test.options;
  options.form = form;
  options.balance = balance;
  options.hardening = hardening;
  options.pool = std::make_shared<ThreadPool>(threads);
  return test::MakeLayer(test.config, options);
}

class Layer : public testing::TestWithParam<LayerCase> {
 protected:
  static torch::Tensor Input(torch::ScalarType dtype) {
    torch::manual_seed(11);
    return torch::randn({6, kWidth}, dtype).set_requires_grad(true);
  }
  static double Error(FeedForward& layer, const torch::Tensor& x, double step) {
    return test::JacobianError([&] { return test::Probe(layer, x); }, test::Variables(layer, x), step);
  }
};

TEST_P(Layer, MaskedDenseHasTheNumericalJacobian) {
  if (GetParam().estimated) return;  // routing_test.cc
  const auto layer = MakeIn(TreeForm::kMaskedDense, GetParam());
  layer->to(torch::kDouble);
  EXPECT_LE(Error(*layer, Input(torch::kDouble), 1e-6), 1e-6);
}

TEST_P(Layer, SparseHasTheNumericalJacobian) {
  if (GetParam().estimated) return;
  if (GetParam().has_kernel()) {
    const auto layer = MakeIn(TreeForm::kKernel, GetParam(), 0, 0);
    EXPECT_LE(Error(*layer, Input(torch::kFloat), 2e-3), 2e-2);  // fp32 differences are this coarse
  } else {
    const auto layer = MakeIn(TreeForm::kAuto, GetParam());
    layer->to(torch::kDouble);
    EXPECT_LE(Error(*layer, Input(torch::kDouble), 1e-6), 1e-6);
  }
}

TEST_P(Layer, SparseEqualsMaskedDense) {
  if (GetParam().random) return;
  for (const size_t threads : {1, 3}) {
    std::vector<torch::Tensor> outputs;
    std::vector<std::vector<torch::Tensor>> gradients;
    for (const TreeForm form : {TreeForm::kAuto, TreeForm::kMaskedDense}) {
      const auto layer = MakeIn(form, GetParam(), 0.1, 0.1, threads);
      torch::manual_seed(13);
      const torch::Tensor x = torch::randn({301, kWidth}).set_requires_grad(true);
      torch::manual_seed(5);
      outputs.push_back(layer->Forward(x, test::Ids(301)).y.detach());
      test::Probe(*layer, x).backward();
      std::vector<torch::Tensor> grads;
      for (const torch::Tensor& variable : test::Variables(*layer, x)) {
        grads.push_back(variable.grad().defined() ? variable.grad() : torch::zeros_like(variable));
      }
      gradients.push_back(grads);
    }
    EXPECT_TRUE(torch::allclose(outputs[0], outputs[1], 1e-5, 1e-5));
    for (size_t i = 0; i < gradients[0].size(); ++i) {
      const double error = (gradients[0][i] - gradients[1][i]).norm().item<double>();
      EXPECT_LE(error, 1e-5 * gradients[1][i].norm().item<double>() + 1e-6) << "variable " << i;
    }
  }
}

// Every unit's visits and every decision's entropy, the same from both forms; nothing outside training or unasked.
TEST_P(Layer, CountsWhatItsTokensVisited) {
  std::vector<Routing> routings;
  for (const TreeForm form : {TreeForm::kAuto, TreeForm::kMaskedDense}) {
    const auto layer = MakeIn(form, GetParam(), 0, 0);
    torch::manual_seed(17);
    const torch::Tensor x = torch::randn({40, kWidth}), ids = test::Ids(40);
    layer->Forward(x, ids);
    EXPECT_EQ(layer->TakeRouting().tokens, 0);
    layer->CollectRouting(true);
    torch::manual_seed(18);
    layer->Forward(x.narrow(0, 0, 10), ids.narrow(0, 0, 10));
    layer->Forward(x.narrow(0, 10, 30), ids.narrow(0, 10, 30));
    layer->eval();
    layer->Forward(x, ids);
    routings.push_back(layer->TakeRouting());
    const Routing& routing = routings.back();
    const UnitLayout layout = layer->Units();
    if (!GetParam().config.conditional()) {
      EXPECT_EQ(layout.units(), 0u);
      EXPECT_EQ(routing.tokens, 0);
      return;
    }
    ASSERT_EQ(routing.tokens, 40);
    ASSERT_EQ(routing.visits.numel(), static_cast<int64_t>(layout.units()));
    EXPECT_EQ(routing.visits.sum().item<double>(), 40.0 * static_cast<double>(GetParam().units_per_token));
    for (const UnitLayout::Parameter& parameter : layout.parameters) {
      EXPECT_TRUE(layer->named_parameters()[parameter.name].is_same(parameter.tensor)) << parameter.name;
      EXPECT_EQ(parameter.tensor.size(parameter.dim) % static_cast<int64_t>(layout.units()), 0) << parameter.name;
    }
    if (layout.decision_level.empty()) continue;
    ASSERT_TRUE(routing.entropy.defined());
    EXPECT_EQ(routing.entropy.numel(), static_cast<int64_t>(layout.decision_level.size()));
    EXPECT_LE(routing.entropy.max().item<double>(), 40 * std::log(2.0) + 1e-4);
  }
  if (GetParam().random) return;
  EXPECT_TRUE(routings[0].visits.equal(routings[1].visits));
}

TEST_P(Layer, AcceptsNoTokens) {
  for (const TreeForm form : {TreeForm::kAuto, TreeForm::kMaskedDense}) {
    const auto layer = MakeIn(form, GetParam(), 0, 0);
    EXPECT_EQ(layer->Forward(torch::zeros({0, kWidth}), test::Ids(0)).y.sizes(), (std::vector<int64_t>{0, kWidth}));
  }
}

TEST_P(Layer, IsTheSameForEveryTokenAloneOutsideTraining) {
  const auto layer = MakeIn(TreeForm::kAuto, GetParam());
  layer->eval();
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = torch::randn({7, kWidth}), ids = test::Ids(7);
  const FeedForward::Output together = layer->Forward(x, ids);
  EXPECT_FALSE(together.regularizer.defined());
  for (int64_t i = 0; i < 7; ++i) {
    const torch::Tensor alone = layer->Forward(x.narrow(0, i, 1), ids.narrow(0, i, 1)).y;
    EXPECT_TRUE(torch::allclose(alone, together.y.narrow(0, i, 1), 1e-5, 1e-6)) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Layer, testing::ValuesIn(test::LayerCases()),
                         [](const auto& test) { return test.param.name; });

TEST(LeafTreeRegularizer, BalanceIsOneWhenEvenAndTheLeavesWhenOneTakesAll) {
  const FeedForwardConfig config{.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 2, .paths = 2};
  const auto layer = test::MakeLayer(config, {.form = TreeForm::kMaskedDense, .balance = 1.0});
  const torch::NoGradGuard no_grad;
  auto parameters = layer->named_parameters();
  parameters["node_weights"].zero_();
  parameters["node_biases"].zero_();
  // All probabilities equal: the mean probability is 1/8 whichever leaves are visited.
  EXPECT_NEAR(layer->Forward(torch::randn({50, test::kWidth})).regularizer.item<double>(), 1.0, 1e-5);
  // Every decision far to the right: leaf 7 has probability 1 and one of the two visits.
  parameters["node_biases"].fill_(50.0);
  EXPECT_NEAR(layer->Forward(torch::randn({50, test::kWidth})).regularizer.item<double>(), 8.0 / 2, 1e-4);
}

TEST(LeafTreeRegularizer, HardeningIsTheSummedMeanEntropy) {
  const FeedForwardConfig config{.kind = FeedForwardKind::kLeafTree, .depth = 2, .leaf_width = 2, .paths = 1};
  const auto layer = test::MakeLayer(config, {.form = TreeForm::kKernel, .hardening = 0.5});
  const torch::NoGradGuard no_grad;
  auto parameters = layer->named_parameters();
  parameters["node_weights"].zero_();
  parameters["node_biases"].zero_();
  EXPECT_NEAR(layer->Forward(torch::randn({9, test::kWidth})).regularizer.item<double>(), 0.5 * 3 * std::log(2.0),
              1e-5);
  parameters["node_biases"].fill_(100.0);
  EXPECT_NEAR(layer->Forward(torch::randn({9, test::kWidth})).regularizer.item<double>(), 0.0, 1e-5);
}

TEST(LeafTreeRegularizer, IsAbsentOutsideTraining) {
  const FeedForwardConfig config{.kind = FeedForwardKind::kLeafTree, .depth = 2, .leaf_width = 2, .paths = 2};
  const auto layer = test::MakeLayer(config, {.balance = 1.0, .hardening = 1.0});
  layer->eval();
  EXPECT_FALSE(layer->Forward(torch::randn({9, test::kWidth})).regularizer.defined());
}

}  // namespace
}  // namespace grove::nn
