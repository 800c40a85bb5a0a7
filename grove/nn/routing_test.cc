// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What the routers of conditional layers promise: straight-through gradients as documented, other paths in training
// than in inference, hardening, region leak and balance with the effect that they are for, fixed routing that stays
// fixed, product keys that find the best pairs.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "grove/kernels/token_path.h"
#include "grove/nn/gated_experts.h"
#include "grove/nn/layers_for_test.h"
#include "grove/nn/sparse_rows.h"

namespace grove::nn {
namespace {

using test::kWidth;
using test::MakeLayer;
using enum FeedForwardKind;

torch::Tensor Values(FeedForward& layer, const char* name) { return layer.named_parameters()[name]; }

// sigmoid'(z)
double Slope(double z) { return 1.0 / (2.0 + std::exp(z) + std::exp(-z)); }

// Both trees below have depth 2: decisions 0, 1, 2.
bool GoesRight(const torch::Tensor& logits, int64_t node) { return logits[node].item<double>() > 0; }

TEST(StraightThrough, ADecisionGetsTheDifferenceOfItsTwoContinuations) {
  FeedForwardConfig config{.kind = kNeuronTree, .depth = 2};
  const torch::Tensor x = torch::randn({1, kWidth}, torch::kDouble);
  torch::Tensor gradients[2];
  std::shared_ptr<FeedForward> layer;
  for (const bool estimated : {false, true}) {
    config.routing = estimated ? TreeRouting::kStraightThrough : TreeRouting::kHard;
    layer = MakeLayer(config, {.form = TreeForm::kMaskedDense});
    layer->to(torch::kDouble);
    layer->Forward(x).y.sum().backward();
    gradients[estimated ? 1 : 0] = Values(*layer, "linear_in.bias").grad().clone();
  }
  const torch::NoGradGuard no_grad;
  const torch::Tensor logits =
      torch::linear(x, Values(*layer, "linear_in.weight"), Values(*layer, "linear_in.bias"))[0];
  const torch::Tensor node_out = torch::gelu(logits) * Values(*layer, "linear_out.weight").sum(0);  // dy = 1
  const auto below = [&](int64_t node) {  // the output from a node of level 1 on
    return (node_out[node] + node_out[GoesRight(logits, node) ? 2 * node + 2 : 2 * node + 1]).item<double>();
  };
  torch::Tensor expected = torch::zeros({7}, torch::kDouble);
  expected[0] = (below(2) - below(1)) * Slope(logits[0].item<double>());
  const int64_t visited = GoesRight(logits, 0) ? 2 : 1;
  expected[visited] =
      (node_out[2 * visited + 2] - node_out[2 * visited + 1]).item<double>() * Slope(logits[visited].item<double>());
  EXPECT_TRUE(torch::allclose(gradients[1] - gradients[0], expected, 1e-9, 1e-12)) << gradients[1] - gradients[0];
  EXPECT_GT(expected.abs().max().item<double>(), 1e-3);
}

TEST(StraightThrough, RoundedDecisionsOfLeafTreesToo) {
  const FeedForwardConfig config{.kind = kLeafTree, .depth = 2, .leaf_width = 3, .decision_scale = 2};
  for (const TreeForm form : {TreeForm::kMaskedDense, TreeForm::kAuto}) {
    const auto layer = MakeLayer(config, {.form = form, .train_hardened = true});
    layer->to(torch::kDouble);
    const torch::Tensor x = torch::randn({1, kWidth}, torch::kDouble);
    const torch::Tensor y = layer->Forward(x).y;
    y.sum().backward();
    const torch::NoGradGuard no_grad;
    layer->eval();
    EXPECT_TRUE(torch::allclose(
        y, MakeLayer(config, {.form = TreeForm::kMaskedDense})->Forward(x.to(torch::kFloat)).y.to(torch::kDouble), 1e-4,
        1e-5));
    const torch::Tensor logits =
        torch::linear(x, Values(*layer, "node_weights"), Values(*layer, "node_biases").flatten())[0];
    const auto leaf = [&](int64_t i) {
      const torch::Tensor h = torch::gelu(torch::matmul(x, Values(*layer, "w1s")[i]) + Values(*layer, "b1s")[i]);
      return (torch::matmul(h, Values(*layer, "w2s")[i]) + Values(*layer, "b2s")[i]).sum().item<double>();
    };
    const auto below = [&](int64_t node) { return leaf(2 * node + (GoesRight(logits, node) ? 2 : 1) - 3); };
    torch::Tensor expected = torch::zeros({3, 1}, torch::kDouble);
    const int64_t visited = GoesRight(logits, 0) ? 2 : 1;
    expected[0] = (below(2) - below(1)) * 2 * Slope(2 * logits[0].item<double>());
    expected[visited] = (leaf(2 * visited - 1) - leaf(2 * visited - 2)) * 2 * Slope(2 * logits[visited].item<double>());
    EXPECT_TRUE(torch::allclose(Values(*layer, "node_biases").grad(), expected, 1e-9, 1e-12));
  }
}

TEST(TrainPaths, AreOtherOnesThanThoseOfInference) {
  FeedForwardConfig config{.kind = kLeafTree, .depth = 3, .leaf_width = 4, .paths = 1};
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = torch::randn({20, kWidth});
  const auto layer = MakeLayer(config, {.train_paths = 3});
  const torch::Tensor trained = layer->Forward(x).y;
  layer->eval();
  const torch::Tensor used = layer->Forward(x).y;
  EXPECT_TRUE(torch::equal(used, MakeLayer(config, {})->Forward(x).y));
  config.paths = 3;
  EXPECT_TRUE(torch::equal(trained, MakeLayer(config, {})->Forward(x).y));
  EXPECT_FALSE(torch::allclose(trained, used));
}

// Entropy of the usage of units, natural log.
double UsageEntropy(FeedForward& layer, const torch::Tensor& x) {
  const torch::NoGradGuard no_grad;
  layer.train();
  layer.CollectRouting(true);
  layer.Forward(x, test::Ids(x.size(0)));
  layer.CollectRouting(false);
  torch::Tensor p = layer.TakeRouting().visits;
  p = p / p.sum();
  return -(p * torch::log(p + 1e-12)).sum().item<double>();
}

double MeanDecisionEntropy(FeedForward& layer, const torch::Tensor& x) {
  const torch::NoGradGuard no_grad;
  layer.CollectRouting(true);
  layer.Forward(x);
  layer.CollectRouting(false);
  return layer.TakeRouting().entropy.mean().item<double>() / static_cast<double>(x.size(0));
}

// Gradient descent on the regularizer and, weakly, on a task: y near -x.
void Train(FeedForward& layer, const torch::Tensor& x, int steps, double rate) {
  torch::optim::Adam optimizer(layer.parameters(), torch::optim::AdamOptions(rate));
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    const FeedForward::Output out = layer.Forward(x, test::Ids(x.size(0)));
    torch::Tensor loss = (out.y + x).square().mean();
    if (out.regularizer.defined()) loss = loss + out.regularizer;
    loss.backward();
    optimizer.step();
  }
}

TEST(Hardening, MakesDecisionsFirmWhileTraining) {
  const FeedForwardConfig config{.kind = kLeafTree, .depth = 3, .leaf_width = 4, .paths = 8};
  const torch::Tensor x = torch::randn({128, kWidth});
  std::vector<double> curve;
  const auto layer = MakeLayer(config, {.hardening = 0.3});
  for (int i = 0; i < 4; ++i) {
    curve.push_back(MeanDecisionEntropy(*layer, x));
    Train(*layer, x, 20, 0.02);
  }
  for (size_t i = 1; i < curve.size(); ++i) EXPECT_LT(curve[i], curve[i - 1]);
  EXPECT_LT(curve.back(), 0.6 * curve.front());
  const auto free = MakeLayer(config, {});
  Train(*free, x, 60, 0.02);
  EXPECT_GT(MeanDecisionEntropy(*free, x), curve.back());
}

TEST(Hardening, GrowsOverTheBudgetWhereItShould) {
  const FeedForwardConfig config{.kind = kLeafTree, .depth = 3, .leaf_width = 4, .paths = 2};
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = torch::randn({16, kWidth});
  const auto at = [&](bool ramp, double fraction) {
    torch::nn::Sequential model;
    const auto layer = MakeLayer(config, {.hardening = 0.4, .hardening_ramp = ramp});
    const auto holder = std::make_shared<torch::nn::Module>();
    holder->register_module("ffn", layer);
    SetBudgetFraction(*holder, fraction);
    return layer->Forward(x).regularizer.item<double>();
  };
  const double full = at(false, 0);
  EXPECT_GT(full, 0.1);
  EXPECT_EQ(at(false, 0.5), full);
  EXPECT_EQ(at(true, 0), 0.0);
  EXPECT_NEAR(at(true, 0.25), 0.25 * full, 1e-6);
  EXPECT_NEAR(at(true, 1), full, 1e-6);
}

// Nearly every token goes right everywhere.
void SkewDecisions(FeedForward& layer) {
  const torch::NoGradGuard no_grad;
  for (auto& item : layer.named_parameters()) {
    if (item.key() == "node_biases" || item.key() == "linear_in.bias") item.value().fill_(2.5);
  }
}

TEST(RegionLeak, SpreadsTokensOverTheRegions) {
  for (const FeedForwardConfig& config :
       {FeedForwardConfig{.kind = kLeafTree, .depth = 4, .leaf_width = 2},
        FeedForwardConfig{.kind = kLeafTree, .depth = 4, .leaf_width = 2, .paths = 2},
        FeedForwardConfig{.kind = kNeuronTree, .depth = 4},
        FeedForwardConfig{.kind = kNeuronTree, .depth = 4, .routing = TreeRouting::kStraightThrough}}) {
    const torch::Tensor x = torch::randn({400, kWidth});
    std::vector<double> entropies;
    for (const double leak : {0.0, 0.1, 0.5}) {
      const auto layer = MakeLayer(config, {.region_leak = leak});
      SkewDecisions(*layer);
      entropies.push_back(UsageEntropy(*layer, x));
      if (leak == 0) continue;
      layer->eval();  // and nothing leaks there
      EXPECT_TRUE(torch::equal(layer->Forward(x).y, layer->Forward(x).y));
    }
    EXPECT_LT(entropies[0] + 0.2, entropies[1]) << DescribeFeedForward(config);
    EXPECT_LT(entropies[1] + 0.2, entropies[2]) << DescribeFeedForward(config);
  }
}

TEST(Balance, SpreadsTokensOverTheUnits) {
  const FeedForwardConfig configs[] = {
      {.kind = kLeafTree, .depth = 3, .leaf_width = 2},
      {.kind = kLeafTree, .trees = 2, .depth = 2, .leaf_width = 2, .paths = 2, .gates = GateKind::kProbability},
      {.kind = kNeuronTree, .depth = 3},
      {.kind = kNeuronTree, .trees = 2, .depth = 2, .routing = TreeRouting::kStraightThrough},
      {.kind = kMoe, .experts = 8, .expert_width = 2, .top_k = 2},
      {.kind = kMoe, .experts = 8, .expert_width = 2, .router = RouterKind::kNoisyTopK, .top_k = 2},
      {.kind = kProductKey, .top_k = 2, .key_heads = 1, .sub_keys = 6, .key_width = 8}};
  // Tokens that are much alike: a router without balance sends them to the same few.
  const torch::Tensor x = torch::randn({256, kWidth}) + 1.5;
  for (const FeedForwardConfig& config : configs) {
    const auto layer = MakeLayer(config, {.balance = 1.0});
    SkewDecisions(*layer);
    const double before = UsageEntropy(*layer, x);
    Train(*layer, x, 60, 0.02);
    EXPECT_GT(UsageEntropy(*layer, x), before + 0.1) << DescribeFeedForward(config);
  }
}

TEST(Balance, DefaultsToWhatTheKindIsPublishedWith) {
  const torch::Tensor x = torch::randn({9, kWidth});
  const ModuleOptions automatic{.balance = -1};
  const FeedForwardConfig neurons{.kind = kNeuronTree, .depth = 2},
      experts{.kind = kMoe, .experts = 4, .expert_width = 2};
  EXPECT_FALSE(MakeLayer(neurons, automatic)->Forward(x).regularizer.defined());
  EXPECT_FALSE(MakeLayer(experts, {})->Forward(x).regularizer.defined());
  EXPECT_NEAR(MakeLayer(experts, automatic)->Forward(x).regularizer.item<double>(),
              0.01 * MakeLayer(experts, {.balance = 1})->Forward(x).regularizer.item<double>(), 1e-7);
}

TEST(RandomRouting, NeverChanges) {
  const FeedForwardConfig config{.kind = kNeuronTree, .trees = 2, .depth = 3, .routing = TreeRouting::kRandom};
  const torch::Tensor x = torch::randn({64, kWidth});
  const auto visits = [&](FeedForward& layer) {
    layer.CollectRouting(true);
    layer.Forward(x);
    layer.CollectRouting(false);
    return layer.TakeRouting().visits;
  };
  const auto layer = MakeLayer(config, {.balance = 1.0});
  const torch::Tensor planes = layer->named_buffers()["decision_planes"].clone(), before = visits(*layer);
  EXPECT_FALSE(planes.requires_grad());
  EXPECT_EQ(planes.sizes(), (std::vector<int64_t>{2 * 7, kWidth}));
  const torch::Tensor weight = Values(*layer, "linear_in.weight").detach().clone();
  Train(*layer, x, 20, 0.05);
  EXPECT_FALSE(torch::equal(weight, Values(*layer, "linear_in.weight")));
  EXPECT_TRUE(torch::equal(planes, layer->named_buffers()["decision_planes"]));
  EXPECT_TRUE(torch::equal(before, visits(*layer)));
  // Of the seed and the layer's number, not of the moment.
  torch::manual_seed(99);
  const auto buffer = [&](FeedForwardConfig c, int64_t number) {
    return MakeFeedForward({c, kWidth, 0.5, {}, number})->named_buffers()["decision_planes"];
  };
  FeedForwardConfig other = config;
  other.routing_seed = 1;
  EXPECT_TRUE(torch::equal(planes, buffer(config, 0)));
  EXPECT_FALSE(torch::equal(planes, buffer(config, 1)));
  EXPECT_FALSE(torch::equal(planes, buffer(other, 0)));
}

TEST(TokenHash, SendsATokenTheWayOfItsHash) {
  const FeedForwardConfig config{
      .kind = kNeuronTree, .trees = 3, .depth = 5, .routing = TreeRouting::kTokenHash, .routing_seed = 12};
  const auto layer = MakeFeedForward({config, kWidth, 0.5, {}, /*layer=*/4});
  layer->CollectRouting(true);
  std::vector<int64_t> bottoms;
  for (const int64_t id : {0, 1, 2, 30'521, 1 << 27}) {
    layer->Forward(torch::randn({2, kWidth}), torch::full({2}, id, torch::kLong));
    const torch::Tensor visits = layer->TakeRouting().visits;
    for (int64_t tree = 0; tree < 3; ++tree) {
      const uint64_t path = TokenPath(TreeKey(12, 4, tree), id);
      int64_t node = 0;
      for (int level = 0; level <= 5; ++level) {
        EXPECT_EQ(visits[tree * 63 + node].item<double>(), 2.0) << "id " << id << " tree " << tree;
        if (level == 5) bottoms.push_back(node);
        node = 2 * node + 1 + static_cast<int64_t>((path >> level) & 1);
      }
    }
  }
  std::sort(bottoms.begin(), bottoms.end());
  EXPECT_GT(std::unique(bottoms.begin(), bottoms.end()) - bottoms.begin(), 8);  // of 15 paths to 32 places
  EXPECT_THROW(layer->Forward(torch::randn({2, kWidth})), c10::Error);
}

TEST(NoisyTopK, IsNoisyInTrainingOnly) {
  const FeedForwardConfig config{
      .kind = kMoe, .experts = 6, .expert_width = 3, .router = RouterKind::kNoisyTopK, .top_k = 2};
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = torch::randn({50, kWidth});
  const auto layer = MakeLayer(config, {});
  EXPECT_FALSE(torch::equal(layer->Forward(x).y, layer->Forward(x).y));
  layer->eval();
  EXPECT_TRUE(torch::equal(layer->Forward(x).y, layer->Forward(x).y));
}

TEST(ProductKey, FindsTheBestPairs) {
  const FeedForwardConfig config{.kind = kProductKey, .top_k = 4, .key_heads = 1, .sub_keys = 9, .key_width = 8};
  const auto layer = MakeLayer(config, {});
  const torch::NoGradGuard no_grad;
  layer->CollectRouting(true);
  for (int i = 0; i < 20; ++i) {
    const torch::Tensor x = torch::randn({1, kWidth});
    layer->Forward(x);
    const torch::Tensor visited = layer->TakeRouting().visits.nonzero().flatten();
    const torch::Tensor query =
        torch::layer_norm(torch::linear(x, Values(*layer, "query.weight")), {8}, Values(*layer, "query_norm.weight"),
                          Values(*layer, "query_norm.bias"));
    const torch::Tensor keys = Values(*layer, "sub_keys");
    const torch::Tensor scores = torch::matmul(keys[0], query[0].narrow(0, 0, 4)).unsqueeze(1) +
                                 torch::matmul(keys[1], query[0].narrow(0, 4, 4)).unsqueeze(0);
    const torch::Tensor best = std::get<0>(std::get<1>(scores.flatten().topk(4)).sort());
    EXPECT_TRUE(torch::equal(visited, best));
  }
}

TEST(GatedExperts, GatesHaveTheNumericalJacobianInBothForms) {
  torch::nn::Module module;
  const ExpertWeights weights = RegisterExperts(module, 5, kWidth, 3, 0.5);
  module.to(torch::kDouble);
  const torch::Tensor chosen = torch::tensor({0, 3, 3, 1, 0, 1, 3, 0}, torch::kLong).view({4, 2});  // 2 and 4 unused
  for (const TreeForm form : {TreeForm::kAuto, TreeForm::kMaskedDense}) {
    const torch::Tensor gates = torch::rand({4, 2}, torch::kDouble).set_requires_grad(true);
    const torch::Tensor x = torch::randn({4, kWidth}, torch::kDouble).set_requires_grad(true);
    const auto loss = [&] { return GatedExperts(x, {chosen, gates}, weights, Activation::kGelu, form).sin().sum(); };
    EXPECT_LE(test::JacobianError(loss, {gates, x, weights.w1s, weights.b1s, weights.w2s, weights.b2s}, 1e-6), 1e-6);
    module.zero_grad();
  }
}

TEST(SparseRows, AreTheSameInOneChunkOrMany) {
  const int64_t entries = 5, width = 8192, n = 32, tokens = 80;  // 21 million gathered numbers: two chunks
  const torch::Tensor table = torch::randn({entries, width}).set_requires_grad(true);
  const torch::Tensor rows = torch::randint(entries, {tokens, n}, torch::kLong);
  const torch::Tensor x = torch::randn({tokens, width}).set_requires_grad(true);
  RowSums(table, rows, RowDots(table, rows, x).tanh()).square().sum().backward();
  const torch::Tensor dtable = table.grad().clone(), dx = x.grad().clone();
  table.mutable_grad().zero_();
  x.mutable_grad().zero_();
  const torch::Tensor all = torch::matmul(x, table.t());
  const torch::Tensor weights = torch::zeros({tokens, entries}).scatter_add(1, rows, all.gather(1, rows).tanh());
  torch::matmul(weights, table).square().sum().backward();
  EXPECT_TRUE(torch::allclose(dx, x.grad(), 1e-3, 1e-3 * x.grad().abs().max().item<double>()));
  EXPECT_TRUE(torch::allclose(dtable, table.grad(), 1e-3, 1e-3 * table.grad().abs().max().item<double>()));
}

}  // namespace
}  // namespace grove::nn
