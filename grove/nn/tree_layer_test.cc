// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Tree layers as modules: the masked dense form against numerical derivatives in double, the kernel form against
// numerical derivatives in float and against the masked dense form, the regularizers against their definitions.
#include <gtest/gtest.h>

#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "grove/nn/feed_forward.h"

namespace grove::nn {
namespace {

constexpr int64_t kWidth = 12;

struct Case {
  std::string name;
  FeedForwardConfig config;
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

std::vector<Case> Cases() {
  using enum FeedForwardKind;
  using enum NonLinearity;
  return {
      {"neuron_1x3", {.kind = kNeuronTree, .trees = 1, .depth = 3}},
      {"neuron_4x0", {.kind = kNeuronTree, .trees = 4, .depth = 0}},
      {"neuron_3x2_relu", {.kind = kNeuronTree, .nonlinearity = kRelu, .trees = 3, .depth = 2}},
      {"neuron_2x3_two_sided", {.kind = kNeuronTree, .trees = 2, .depth = 3, .two_sided = true}},
      {"leaf_one_path", {.kind = kLeafTree, .depth = 3, .leaf_width = 5, .paths = 1}},
      {"leaf_three_paths", {.kind = kLeafTree, .depth = 3, .leaf_width = 5, .paths = 3, .decision_scale = 4}},
      {"leaf_soft", {.kind = kLeafTree, .depth = 2, .leaf_width = 3, .paths = 4}},
      {"leaf_depth_0", {.kind = kLeafTree, .nonlinearity = kRelu, .depth = 0, .leaf_width = 7, .paths = 1}},
  };
}

std::shared_ptr<FeedForward> Make(const FeedForwardConfig& config, const ModuleOptions& options) {
  torch::manual_seed(7);
  // A wide initialization: outputs and gradients of order one.
  const auto layer = MakeFeedForward({config, kWidth, /*init_std=*/0.5, options});
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : layer->parameters()) {
    if (parameter.count_nonzero().item<int64_t>() == 0) parameter.normal_(0.0, 0.5);  // biases start at zero
  }
  return layer;
}

// A scalar that depends on every output in its own way.
torch::Tensor Probe(FeedForward& layer, const torch::Tensor& x) {
  const FeedForward::Output out = layer.Forward(x);
  const torch::Tensor weights = torch::arange(1, out.y.numel() + 1, out.y.options()).mul(0.37).sin().view_as(out.y);
  torch::Tensor probe = (out.y * weights).sum() + 0.5 * out.y.square().sum();
  if (out.regularizer.defined()) probe = probe + out.regularizer;
  return probe;
}

std::vector<torch::Tensor> Variables(FeedForward& layer, const torch::Tensor& x) {
  std::vector<torch::Tensor> variables = layer.parameters();
  variables.push_back(x);
  return variables;
}

// Largest |analytic - central difference| over every element, relative to the largest derivative of its tensor.
double JacobianError(FeedForward& layer, const torch::Tensor& x, double step) {
  Probe(layer, x).backward();
  const torch::NoGradGuard no_grad;
  double worst = 0;
  for (torch::Tensor& variable : Variables(layer, x)) {
    if (variable.numel() == 0) continue;
    const torch::Tensor gradient = variable.grad().defined() ? variable.grad() : torch::zeros_like(variable);
    const double scale = std::max(1.0, gradient.abs().amax().item<double>());
    torch::Tensor flat = variable.view({-1});
    for (int64_t i = 0; i < flat.numel(); ++i) {
      const double value = flat[i].item<double>();
      flat[i] = value + step;
      const double above = Probe(layer, x).item<double>();
      flat[i] = value - step;
      const double below = Probe(layer, x).item<double>();
      flat[i] = value;
      const double numeric = (above - below) / (2 * step);
      worst = std::max(worst, std::abs(numeric - gradient.flatten()[i].item<double>()) / scale);
    }
  }
  return worst;
}

class TreeLayer : public testing::TestWithParam<Case> {
 protected:
  static torch::Tensor Input(torch::ScalarType dtype) {
    torch::manual_seed(11);
    return torch::randn({6, kWidth}, dtype).set_requires_grad(true);
  }
};

TEST_P(TreeLayer, MaskedDenseHasTheNumericalJacobian) {
  const auto layer = Make(GetParam().config, {.form = TreeForm::kMaskedDense, .balance = 0.3, .hardening = 0.3});
  layer->to(torch::kDouble);
  EXPECT_LE(JacobianError(*layer, Input(torch::kDouble), 1e-6), 1e-6);
}

TEST_P(TreeLayer, KernelHasTheNumericalJacobian) {
  const auto layer = Make(GetParam().config, {.form = TreeForm::kKernel});
  EXPECT_LE(JacobianError(*layer, Input(torch::kFloat), 2e-3), 2e-2);  // fp32 differences are this coarse
}

TEST_P(TreeLayer, KernelEqualsMaskedDense) {
  for (const size_t threads : {1, 3}) {
    const auto pool = std::make_shared<ThreadPool>(threads);
    std::vector<torch::Tensor> outputs;
    std::vector<std::vector<torch::Tensor>> gradients;
    for (const TreeForm form : {TreeForm::kKernel, TreeForm::kMaskedDense}) {
      const auto layer = Make(GetParam().config, {.form = form, .balance = 0.1, .hardening = 0.1, .pool = pool});
      torch::manual_seed(13);
      const torch::Tensor x = torch::randn({301, kWidth}).set_requires_grad(true);
      outputs.push_back(layer->Forward(x).y.detach());
      Probe(*layer, x).backward();
      std::vector<torch::Tensor> grads;
      for (const torch::Tensor& variable : Variables(*layer, x)) {
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
TEST_P(TreeLayer, CountsWhatItsTokensVisited) {
  std::vector<Routing> routings;
  for (const TreeForm form : {TreeForm::kKernel, TreeForm::kMaskedDense}) {
    const auto layer = Make(GetParam().config, {.form = form});
    const torch::Tensor x = torch::randn({40, kWidth});
    layer->Forward(x);
    EXPECT_EQ(layer->TakeRouting().tokens, 0);
    layer->CollectRouting(true);
    layer->Forward(x.narrow(0, 0, 10));
    layer->Forward(x.narrow(0, 10, 30));
    layer->eval();
    layer->Forward(x);
    routings.push_back(layer->TakeRouting());
    const Routing& routing = routings.back();
    const UnitLayout layout = layer->Units();
    ASSERT_EQ(routing.tokens, 40);
    ASSERT_EQ(routing.visits.numel(), static_cast<int64_t>(layout.units()));
    const FeedForwardConfig& config = GetParam().config;
    const bool neurons = config.kind == FeedForwardKind::kNeuronTree;
    EXPECT_EQ(routing.visits.sum().item<double>(),
              40.0 * static_cast<double>(neurons ? config.ActiveNeurons() : config.paths));
    for (const UnitLayout::Parameter& parameter : layout.parameters) {
      EXPECT_TRUE(layer->named_parameters()[parameter.name].is_same(parameter.tensor)) << parameter.name;
      EXPECT_EQ(parameter.tensor.size(parameter.dim) % static_cast<int64_t>(layout.units()), 0) << parameter.name;
    }
    if (layout.decision_level.empty()) continue;
    ASSERT_TRUE(routing.entropy.defined());
    EXPECT_EQ(routing.entropy.numel(), static_cast<int64_t>(layout.decision_level.size()));
    EXPECT_LE(routing.entropy.max().item<double>(), 40 * std::log(2.0) + 1e-4);
  }
  EXPECT_TRUE(routings[0].visits.equal(routings[1].visits));
}

TEST_P(TreeLayer, AcceptsNoTokens) {
  for (const TreeForm form : {TreeForm::kKernel, TreeForm::kMaskedDense}) {
    const auto layer = Make(GetParam().config, {.form = form});
    EXPECT_EQ(layer->Forward(torch::zeros({0, kWidth})).y.sizes(), (std::vector<int64_t>{0, kWidth}));
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, TreeLayer, testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

TEST(LeafTreeRegularizer, BalanceIsOneWhenEvenAndTheLeavesWhenOneTakesAll) {
  const FeedForwardConfig config{.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 2, .paths = 2};
  const auto layer = Make(config, {.form = TreeForm::kMaskedDense, .balance = 1.0});
  const torch::NoGradGuard no_grad;
  auto parameters = layer->named_parameters();
  parameters["node_weights"].zero_();
  parameters["node_biases"].zero_();
  // All probabilities equal: the mean probability is 1/8 whichever leaves are visited.
  EXPECT_NEAR(layer->Forward(torch::randn({50, kWidth})).regularizer.item<double>(), 1.0, 1e-5);
  // Every decision far to the right: leaf 7 has probability 1 and one of the two visits.
  parameters["node_biases"].fill_(50.0);
  EXPECT_NEAR(layer->Forward(torch::randn({50, kWidth})).regularizer.item<double>(), 8.0 / 2, 1e-4);
}

TEST(LeafTreeRegularizer, HardeningIsTheSummedMeanEntropy) {
  const FeedForwardConfig config{.kind = FeedForwardKind::kLeafTree, .depth = 2, .leaf_width = 2, .paths = 1};
  const auto layer = Make(config, {.form = TreeForm::kKernel, .hardening = 0.5});
  const torch::NoGradGuard no_grad;
  auto parameters = layer->named_parameters();
  parameters["node_weights"].zero_();
  parameters["node_biases"].zero_();
  EXPECT_NEAR(layer->Forward(torch::randn({9, kWidth})).regularizer.item<double>(), 0.5 * 3 * std::log(2.0), 1e-5);
  parameters["node_biases"].fill_(100.0);
  EXPECT_NEAR(layer->Forward(torch::randn({9, kWidth})).regularizer.item<double>(), 0.0, 1e-5);
}

TEST(LeafTreeRegularizer, IsAbsentOutsideTraining) {
  const FeedForwardConfig config{.kind = FeedForwardKind::kLeafTree, .depth = 2, .leaf_width = 2, .paths = 2};
  const auto layer = Make(config, {.balance = 1.0, .hardening = 1.0});
  layer->eval();
  EXPECT_FALSE(layer->Forward(torch::randn({9, kWidth})).regularizer.defined());
}

}  // namespace
}  // namespace grove::nn
