// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Trees as a GPU computes them in bf16 against their definition in fp32 on the CPU. The routers' weights are the
// identity, so that both see the same logits and turn alike. Needs a GPU; skips without one.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grove/nn/feed_forward.h"
#include "grove/nn/leaf_router.h"
#include "grove/nn/neuron_paths.h"

namespace grove::nn {
namespace {

using enum FeedForwardKind;
using enum TreeRouting;

double RelativeError(const torch::Tensor& out, const torch::Tensor& reference) {
  const torch::Tensor a = out.detach().cpu().to(torch::kDouble), b = reference.detach().to(torch::kDouble);
  return (a - b).norm().item<double>() / (b.norm().item<double>() + 1e-30);
}

torch::Tensor Bf16Values(at::IntArrayRef shape, double scale) {
  return (torch::randn(shape) * scale).to(torch::kBFloat16).to(torch::kFloat);
}

struct Case {
  std::string name;
  FeedForwardConfig config;
  int64_t tokens = 300;
  ModuleOptions options = {};
};

std::vector<Case> Cases() {
  const FeedForwardConfig leaves{.kind = kLeafTree, .depth = 4, .leaf_width = 8, .paths = 2, .decision_scale = 2};
  const auto leaf = [&](int64_t trees, int64_t depth, int64_t paths, GateKind gates) {
    FeedForwardConfig config = leaves;
    config.trees = trees, config.depth = depth, config.paths = paths, config.gates = gates;
    return config;
  };
  const ModuleOptions balanced{.balance = 0.5}, hardened{.balance = 0.1, .hardening = 0.3};
  using enum GateKind;
  return {
      {"leaf_two_paths", leaf(1, 4, 2, kRenormalized), 300, balanced},
      {"leaf_four_of_many", leaf(1, 9, 4, kRenormalized), 77, balanced},
      {"leaf_probability", leaf(1, 5, 3, kProbability), 300, balanced},
      {"leaf_one_path", leaf(1, 3, 1, kRenormalized), 300, balanced},
      {"leaf_one_path_probability", leaf(1, 3, 1, kProbability), 300, hardened},
      {"leaf_trees", leaf(3, 3, 2, kRenormalized), 1000, hardened},
      {"leaf_all", leaf(1, 2, 4, kRenormalized), 5},
      {"leaf_depth_0", leaf(2, 0, 1, kRenormalized), 9},
      {"leaf_depth_10", leaf(1, 10, 2, kRenormalized), 9},
      {"neuron_hard", {.kind = kNeuronTree, .trees = 8, .depth = 4}},
      {"neuron_relu", {.kind = kNeuronTree, .nonlinearity = NonLinearity::kRelu, .trees = 2, .depth = 5}},
      {"neuron_one_deep", {.kind = kNeuronTree, .trees = 1, .depth = 7}, 40, {.balance = 0.5}},
      {"neuron_depth_0", {.kind = kNeuronTree, .trees = 5, .depth = 0}},
      {"neuron_two_sided", {.kind = kNeuronTree, .trees = 3, .depth = 3, .two_sided = true}},
      {"neuron_straight_through", {.kind = kNeuronTree, .trees = 4, .depth = 4, .routing = kStraightThrough}},
      {"neuron_straight_through_two_sided",
       {.kind = kNeuronTree, .trees = 2, .depth = 3, .two_sided = true, .routing = kStraightThrough}},
      {"neuron_random", {.kind = kNeuronTree, .trees = 2, .depth = 4, .routing = kRandom}},
      {"neuron_hash", {.kind = kNeuronTree, .trees = 2, .depth = 4, .routing = kTokenHash}},
  };
}

void MakeRoutersTheIdentity(FeedForward& layer) {
  const torch::NoGradGuard no_grad;
  const auto set = [](torch::Tensor t) { t.copy_(torch::eye(t.size(0), t.size(1))); };
  for (const char* name : {"node_weights", "linear_in.weight"}) {
    if (auto* t = layer.named_parameters().find(name)) set(*t);
  }
  if (auto* planes = layer.named_buffers().find("decision_planes")) set(*planes);
  if (auto* bias = layer.named_parameters().find("linear_in.bias")) bias->zero_();
}

void Check(const Case& c) {
  constexpr int64_t kWide = 512;  // as many columns as the cases have decisions or nodes
  torch::manual_seed(5);
  ModuleOptions plain = c.options;
  plain.form = TreeForm::kMaskedDense;
  const auto reference = MakeFeedForward({c.config, kWide, 0.1, plain});
  MakeRoutersTheIdentity(*reference);
  const auto layer = MakeFeedForward({c.config, kWide, 0.1, c.options});
  {
    const torch::NoGradGuard no_grad;
    for (const auto& item : reference->named_parameters()) {
      layer->named_parameters()[item.key()].copy_(item.value().copy_(item.value().to(torch::kBFloat16)));
    }
    for (const auto& item : reference->named_buffers()) layer->named_buffers()[item.key()].copy_(item.value());
  }
  layer->to(torch::kCUDA);
  for (FeedForward* l : {reference.get(), layer.get()}) l->CollectRouting(true);

  const torch::Tensor ids = torch::randint(1000, {c.tokens}, torch::kLong);
  const torch::Tensor x = Bf16Values({c.tokens, kWide}, 0.7).requires_grad_();
  const torch::Tensor on_gpu = x.detach().to(torch::kCUDA).requires_grad_();
  const torch::Tensor dy = Bf16Values({c.tokens, kWide}, 1);
  const auto backward = [](const FeedForward::Output& out, const torch::Tensor& d) {
    torch::Tensor loss = (out.y.to(torch::kFloat) * d).sum();
    if (out.regularizer.defined()) loss = loss + 1000 * out.regularizer;
    loss.backward();
  };
  const auto expected = reference->Forward(x, ids);
  backward(expected, dy);
  FeedForward::Output out;
  {
    const AutocastScope autocast(true);
    out = layer->Forward(on_gpu, ids.to(torch::kCUDA));
  }
  backward(out, dy.to(torch::kCUDA));
  EXPECT_LT(RelativeError(out.y, expected.y), 1e-2);
  ASSERT_EQ(out.regularizer.defined(), expected.regularizer.defined());
  if (out.regularizer.defined()) {
    EXPECT_LT(RelativeError(out.regularizer, expected.regularizer), 1e-3);
  }
  EXPECT_LT(RelativeError(on_gpu.grad(), x.grad()), 2e-2) << "x";
  for (const auto& item : reference->named_parameters()) {
    const torch::Tensor want = item.value().grad(), got = layer->named_parameters()[item.key()].grad();
    if (!want.defined() || want.norm().item<double>() == 0) continue;
    ASSERT_TRUE(got.defined()) << item.key();
    EXPECT_LT(RelativeError(got, want), 2e-2) << item.key();
  }
  const Routing want = reference->TakeRouting(), got = layer->TakeRouting();
  EXPECT_TRUE(torch::equal(got.visits.cpu(), want.visits));
  if (want.entropy.defined()) {
    EXPECT_LT(RelativeError(got.entropy, want.entropy), 1e-3);
  }
}

TEST(TreesOnAGpu, EqualTheirDefinition) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU here";
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    Check(c);
  }
}

TEST(TreesOnAGpu, UseTheFusedForms) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU here";
  const torch::Tensor x = torch::zeros({4, 8}, torch::kCUDA);
  const LeafRouterShape deep{.trees = 1, .depth = 12, .paths = 2, .scale = 1, .renormalize = true};
  const LeafRouterShape shallow{.trees = 1, .depth = 5, .paths = 2, .scale = 1, .renormalize = true};
  EXPECT_FALSE(CanRouteLeaves(x, shallow));
  const AutocastScope autocast(true);
  EXPECT_TRUE(CanRouteLeaves(x, shallow));
  EXPECT_FALSE(CanRouteLeaves(x, deep));
  EXPECT_TRUE(CanWalkNeuronPaths(x));
}

}  // namespace
}  // namespace grove::nn
