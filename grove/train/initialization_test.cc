// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/initialization.h"

#include <gtest/gtest.h>

#include <cmath>

namespace grove::train {
namespace {

std::shared_ptr<nn::TextModel> Model(const FeedForwardConfig& layer) {
  ModelConfig config;
  config.vocabulary = 40;
  config.width = 64;
  config.layers = 8;
  config.heads = 2;
  config.max_length = 8;
  config.feed_forward = layer;
  torch::manual_seed(3);
  return nn::MakeTextModel(config, {});
}

const FeedForwardConfig kLeafTree{.kind = FeedForwardKind::kLeafTree, .depth = 2, .leaf_width = 16, .paths = 2};
const FeedForwardConfig kNeuronTree{.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 2};
const FeedForwardConfig kDense{.kind = FeedForwardKind::kDense, .intermediate = 32};

torch::Tensor Parameter(const nn::TextModel& model, const std::string& name) {
  return model.named_parameters()["encoder.layers.1." + name].detach();
}

TEST(Initialize, RecipeChangesNothing) {
  const auto model = Model(kLeafTree), same = Model(kLeafTree);
  ASSERT_TRUE(Initialize(*model, "recipe").ok());
  for (const auto& item : model->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), same->named_parameters()[item.key()])) << item.key();
  }
}

TEST(Initialize, ScaledShrinksWhatWritesToTheResidual) {
  for (const auto& layer : {kLeafTree, kNeuronTree, kDense}) {
    const auto model = Model(layer), recipe = Model(layer);
    ASSERT_TRUE(Initialize(*model, "scaled").ok());
    int scaled = 0;
    for (const auto& item : model->named_parameters()) {
      const torch::Tensor before = recipe->named_parameters()[item.key()];
      if (torch::equal(item.value(), before)) continue;
      ++scaled;
      EXPECT_TRUE(torch::allclose(item.value(), before / 4)) << item.key();  // 1 / sqrt(2 * 8)
    }
    EXPECT_EQ(scaled, 16) << "attention's and the feedforward layer's output of 8 blocks";
  }
}

TEST(Initialize, PublishedIsUniformWithinItsBounds) {
  const auto model = Model(kLeafTree);
  ASSERT_TRUE(Initialize(*model, "published").ok());
  const auto spread = [&](const char* name) {
    const torch::Tensor values = Parameter(*model, name);
    return std::pair(values.abs().max().item<double>(), values.square().mean().sqrt().item<double>());
  };
  for (const auto& [name, bound] : {std::pair("ffn.w1s", 0.125), std::pair("ffn.node_weights", 0.125),
                                    std::pair("ffn.w2s", 0.25), std::pair("ffn.b2s", 0.25)}) {
    const auto [largest, root_mean_square] = spread(name);
    EXPECT_LE(largest, bound) << name;
    EXPECT_GT(largest, 0.9 * bound) << name;
    EXPECT_NEAR(root_mean_square, bound / std::sqrt(3.0), 0.1 * bound) << name;
  }
  EXPECT_GT(spread("ffn.node_biases").first, 0);
}

TEST(Initialize, AlikeLeavesDifferByATenth) {
  const auto model = Model(kLeafTree);
  ASSERT_TRUE(Initialize(*model, "alike").ok());
  const torch::Tensor w1s = Parameter(*model, "ffn.w1s");
  const double difference = (w1s[3] - w1s[2]).square().mean().sqrt().item<double>();
  const double spread = w1s[0].square().mean().sqrt().item<double>();
  EXPECT_NEAR(difference / spread, 0.1 * std::sqrt(2.0), 0.02);
  EXPECT_FALSE(torch::equal(Parameter(*model, "ffn.node_weights")[0], Parameter(*model, "ffn.node_weights")[1]));
}

TEST(Initialize, SingleNeuronsAreNotMadeAlike) {
  const FeedForwardConfig roots{.kind = FeedForwardKind::kNeuronTree, .trees = 4, .depth = 0};
  EXPECT_FALSE(Initialize(*Model(roots), "alike").ok());
}

TEST(Initialize, ASchemeWithoutMeaningForTheModelIsAnError) {
  for (const char* scheme : {"published", "alike"}) {
    for (const auto& layer : {kNeuronTree, kDense, FeedForwardConfig{.kind = FeedForwardKind::kNone}}) {
      const Status status = Initialize(*Model(layer), scheme);
      ASSERT_FALSE(status.ok());
      EXPECT_NE(status.error().message().find("--init"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace grove::train
