// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/convert_layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "grove/train/leaf_decisions.h"
#include "grove/train/neuron_groups.h"

namespace grove::train {
namespace {

constexpr int64_t kWidth = 12, kNeurons = 32;

// Tokens of eight topics; four neurons work for each topic and hardly for the others.
struct Topics {
  torch::Tensor x;      // [tokens, width]
  torch::Tensor topic;  // [tokens]
  DenseLayer dense;
};
Topics MakeTopics(Activation activation) {
  torch::manual_seed(11);
  const torch::Tensor centres = 4.0 * torch::randn({8, kWidth});
  const torch::Tensor topic = torch::randint(8, {2000}, torch::kLong);
  const torch::Tensor x = centres.index_select(0, topic) + torch::randn({2000, kWidth});
  // Neuron n looks for topic n % 8: neighbours in memory are no neighbours in meaning.
  const torch::Tensor of_neuron = torch::arange(kNeurons, torch::kLong) % 8;
  const torch::Tensor w_in = centres.index_select(0, of_neuron) / kWidth + 0.02 * torch::randn({kNeurons, kWidth});
  return {x,
          topic,
          {w_in, -0.6 * torch::ones({kNeurons}), torch::randn({kWidth, kNeurons}), torch::randn({kWidth}), activation}};
}

std::shared_ptr<nn::FeedForward> MakeTree(const LeafTreeLayer& values, const LayerConversion& options,
                                          nn::TreeForm form) {
  const FeedForwardConfig config{.kind = FeedForwardKind::kLeafTree,
                                 .depth = options.depth,
                                 .leaf_width = options.leaf_width,
                                 .paths = options.paths,
                                 .decision_scale = DecisionScale({values})};
  const auto layer = nn::MakeFeedForward({config, kWidth, 0.02, {.form = form}});
  layer->eval();
  FillLeafTree(values, DecisionScale({values}), *layer);
  return layer;
}

double Error(const Topics& topics, const LayerConversion& options, nn::TreeForm form = nn::TreeForm::kKernel) {
  const LeafTreeLayer values = ConvertLayer(topics.dense, topics.x, options);
  return RelativeError(*MakeTree(values, options, form), topics.x, topics.dense.Forward(topics.x));
}

TEST(GroupNeurons, KeepsEveryNeuronOnceInLeavesOfEvenSize) {
  torch::manual_seed(1);
  for (const int64_t neurons : {8, 13, 32}) {
    for (const torch::Tensor& groups :
         {GroupNeurons(torch::randn({neurons, 5}), 3, 5), GroupAtRandom(neurons, 3, 5, 7)}) {
      ASSERT_EQ(groups.sizes(), (std::vector<int64_t>{8, 5}));
      std::vector<int64_t> all;
      for (int64_t leaf = 0; leaf < 8; ++leaf) {
        const int64_t size = (groups[leaf] >= 0).sum().item<int64_t>();
        EXPECT_GE(size, neurons / 8);
        EXPECT_LE(size, (neurons + 7) / 8);
        for (int64_t i = 0; i < size; ++i) all.push_back(groups[leaf][i].item<int64_t>());
      }
      std::sort(all.begin(), all.end());
      ASSERT_EQ(all.size(), static_cast<size_t>(neurons));
      for (int64_t n = 0; n < neurons; ++n) EXPECT_EQ(all[static_cast<size_t>(n)], n);
    }
  }
}

TEST(GroupNeurons, LikeNeuronsShareALeafAndLikeLeavesAParent) {
  // 16 clusters of two, arranged in a hierarchy: coordinates of falling importance.
  torch::manual_seed(2);
  const torch::Tensor order = torch::randperm(32, torch::kLong);
  std::vector<float> rows;
  for (int64_t i = 0; i < 32; ++i) {
    const int64_t cluster = order[i].item<int64_t>() / 2;
    for (int bit = 0; bit < 4; ++bit) {
      rows.push_back(static_cast<float>(((cluster >> (3 - bit)) & 1) * 2 - 1) * static_cast<float>(8 >> bit));
    }
  }
  const torch::Tensor groups = GroupNeurons(torch::tensor(rows).view({32, 4}), 4, 2);
  std::vector<int64_t> first;
  for (int64_t leaf = 0; leaf < 16; ++leaf) {
    const int64_t a = order[groups[leaf][0].item<int64_t>()].item<int64_t>() / 2;
    EXPECT_EQ(a, order[groups[leaf][1].item<int64_t>()].item<int64_t>() / 2);
    first.push_back(a);
  }
  for (size_t leaf = 0; leaf < 16; leaf += 2) EXPECT_EQ(first[leaf] / 2, first[leaf + 1] / 2) << leaf;
}

TEST(LearnDecisions, FindTheLeafThatATopicBelongsTo) {
  const Topics topics = MakeTopics(Activation::kRelu);
  const torch::Tensor shares = torch::one_hot(topics.topic, 8).to(torch::kFloat);
  const LeafDecisions decisions = LearnDecisions(topics.x, shares);
  const torch::Tensor found = LeafGates(decisions.Logits(topics.x), 1).argmax(1);
  EXPECT_GT((found == topics.topic).to(torch::kFloat).mean().item<double>(), 0.97);
}

TEST(LeafGates, AreThoseOfTheLayer) {
  torch::manual_seed(4);
  const torch::Tensor x = torch::randn({50, kWidth});
  for (const int64_t paths : {1, 3, 8}) {
    const FeedForwardConfig config{.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 2, .paths = paths};
    const auto layer = nn::MakeFeedForward({config, kWidth, 0.02, {.form = nn::TreeForm::kKernel}});
    layer->eval();
    const torch::NoGradGuard no_grad;
    auto p = layer->named_parameters();
    p["w2s"].zero_();
    p["b2s"].zero_();
    p["b2s"].narrow(1, 0, 8).copy_(torch::eye(8));  // output i is the gate of leaf i
    const LeafDecisions decisions{p["node_weights"], p["node_biases"].flatten()};
    const torch::Tensor gates = LeafGates(decisions.Logits(x), paths);
    EXPECT_LE((layer->Forward(x).y.narrow(1, 0, 8) - gates).abs().max().item<double>(), 1e-5) << paths;
  }
}

TEST(ConvertLayer, WithAllLeavesIsTheDenseLayer) {
  for (const Activation activation : {Activation::kRelu, Activation::kGelu}) {
    const Topics topics = MakeTopics(activation);
    for (const int64_t leaf_width : {4, 5}) {  // full, and with empty slots
      for (const nn::TreeForm form : {nn::TreeForm::kKernel, nn::TreeForm::kMaskedDense}) {
        FeedForwardConfig config;
        config.nonlinearity = activation == Activation::kRelu ? NonLinearity::kRelu : NonLinearity::kGelu;
        config.kind = FeedForwardKind::kLeafTree;
        config.depth = 3;
        config.leaf_width = leaf_width;
        config.paths = 8;
        const LeafTreeLayer values =
            ConvertLayer(topics.dense, topics.x, {.depth = 3, .leaf_width = leaf_width, .paths = 8});
        const auto layer = nn::MakeFeedForward({config, kWidth, 0.02, {.form = form}});
        layer->eval();
        FillLeafTree(values, DecisionScale({values}), *layer);
        const torch::NoGradGuard no_grad;
        const torch::Tensor y = topics.dense.Forward(topics.x);
        EXPECT_LE((layer->Forward(topics.x).y - y).abs().max().item<double>(), 1e-4 * y.abs().max().item<double>());
        EXPECT_NEAR(values.mass, 1.0, 1e-5);
      }
    }
  }
}

TEST(ConvertLayer, LearntGroupsAndRoutesBeatRandomOnes) {
  const Topics topics = MakeTopics(Activation::kGelu);
  for (const int64_t paths : {1, 2, 4}) {
    const LayerConversion learnt{.depth = 3, .leaf_width = 4, .paths = paths};
    LayerConversion random_groups = learnt, random_routes = learnt;
    random_groups.grouping = "random";
    random_routes.routing = "random";
    const double error = Error(topics, learnt);
    EXPECT_LT(error, 0.7 * Error(topics, random_groups)) << paths;
    EXPECT_LT(error, 0.7 * Error(topics, random_routes)) << paths;
    EXPECT_LT(error, 0.5) << paths;
  }
}

}  // namespace
}  // namespace grove::train
