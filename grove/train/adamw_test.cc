// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/adamw.h"

#include <gtest/gtest.h>

#include "grove/nn/heads.h"

namespace grove::train {
namespace {

std::shared_ptr<nn::MaskedLm> Model() {
  ModelConfig config;
  config.vocabulary = 40;
  config.width = 16;
  config.layers = 2;
  config.heads = 2;
  config.max_length = 8;
  config.head.decoder_bias = true;
  config.feed_forward = {.kind = FeedForwardKind::kLeafTree, .depth = 2, .leaf_width = 4, .paths = 2};
  torch::manual_seed(3);
  return std::make_shared<nn::MaskedLm>(config, nn::ModuleOptions{});
}

void Backward(nn::MaskedLm& model, int64_t step) {
  const torch::Tensor ids = torch::arange(16, torch::kLong).view({2, 8}) + step;
  const torch::Tensor positions = torch::tensor({1, 5, 9}, torch::kLong);
  model.ComputeLoss(ids, {}, positions, torch::tensor({3, 4, 5}, torch::kLong)).masked_lm.backward();
}

TEST(WeightDecay, SparesBiasesAndNorms) {
  for (const char* name : {"encoder.layers.0.norm1.weight", "encoder.final_norm.bias", "encoder.layers.1.ffn.b1s",
                           "encoder.layers.1.ffn.b2s", "encoder.layers.0.ffn.node_biases", "decoder.bias",
                           "encoder.layers.0.ffn.linear_in.bias"}) {
    EXPECT_FALSE(TakesWeightDecay(name)) << name;
  }
  for (const char* name : {"encoder.layers.0.ffn.w1s", "encoder.layers.0.ffn.node_weights",
                           "encoder.embedding.word_embedding.weight", "encoder.layers.0.attn.dense.weight"}) {
    EXPECT_TRUE(TakesWeightDecay(name)) << name;
  }
}

// LibTorch's own optimizer and clipping are the oracle.
TEST(AdamW, EqualsLibTorchsWithClipping) {
  const auto ours = Model(), theirs = Model();
  AdamW optimizer(*ours, {.beta2 = 0.98, .epsilon = 1e-12, .weight_decay = 0.1, .clip = 0.05});
  std::vector<torch::Tensor> decayed, spared;
  for (const auto& item : theirs->named_parameters()) {
    (TakesWeightDecay(item.key()) ? decayed : spared).push_back(item.value());
  }
  const auto options = [](double decay) {
    return std::make_unique<torch::optim::AdamWOptions>(
        torch::optim::AdamWOptions(1e-2).betas(std::make_tuple(0.9, 0.98)).eps(1e-12).weight_decay(decay));
  };
  torch::optim::AdamW reference({torch::optim::OptimizerParamGroup(decayed, options(0.1)),
                                 torch::optim::OptimizerParamGroup(spared, options(0.0))});
  for (int64_t step = 0; step < 5; ++step) {
    Backward(*ours, step);
    Backward(*theirs, step);
    const double norm = torch::nn::utils::clip_grad_norm_(theirs->parameters(), 0.05);
    EXPECT_NEAR(optimizer.Step(1e-2).item<double>(), norm, 1e-5 * norm);
    EXPECT_GT(norm, 0.05);  // clipping is at work
    reference.step();
    reference.zero_grad();
    optimizer.ZeroGradients();
  }
  for (const auto& item : theirs->named_parameters()) {
    // A gradient that is zero but for rounding moves a parameter by up to the rate; epsilon hides none of it.
    const double error = (ours->named_parameters()[item.key()] - item.value()).norm().item<double>();
    EXPECT_LE(error, 1e-4 * item.value().norm().item<double>() + 1e-6) << item.key();
  }
}

TEST(AdamW, AReplicaFollowsTheParametersAndKeepsItsGradients) {
  const auto main = Model(), replica = Model();
  AdamW optimizer(*main, {});
  const torch::Tensor gradients = optimizer.Share(*replica);
  Backward(*replica, 0);
  EXPECT_GT(gradients.norm().item<double>(), 0);
  EXPECT_EQ(optimizer.gradients().norm().item<double>(), 0);
  Backward(*main, 0);
  EXPECT_TRUE(torch::equal(gradients, optimizer.gradients()));
  optimizer.Step(1e-2);
  for (const auto& item : main->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), replica->named_parameters()[item.key()])) << item.key();
  }
}

}  // namespace
}  // namespace grove::train
