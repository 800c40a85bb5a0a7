// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/parameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "grove/io/model_directory.h"
#include "grove/nn/heads.h"
#include "grove/nn/text_model.h"
#include "tests/temporary_folder.h"

namespace grove::nn {
namespace {

ModelConfig TinyConfig(const FeedForwardConfig& feed_forward, PositionKind position) {
  ModelConfig config;
  config.vocabulary = 50;
  config.width = 16;
  config.layers = 2;
  config.heads = 2;
  config.max_length = 12;
  config.position = position;
  config.feed_forward = feed_forward;
  return config;
}

// Layers that differ.
ModelConfig Mixed() {
  ModelConfig config = TinyConfig({.kind = FeedForwardKind::kLeafTree, .trees = 2, .depth = 2, .leaf_width = 3},
                                  PositionKind::kSinusoidal);
  config.layers = 3;
  config.layer_feed_forward = {{.intermediate = 24}, config.feed_forward, {.kind = FeedForwardKind::kNone}};
  return config;
}

std::vector<ModelConfig> Configs() {
  using enum FeedForwardKind;
  using enum PositionKind;
  return {
      TinyConfig({.kind = kDense, .intermediate = 32}, kLearned),
      TinyConfig({.kind = kLeafTree, .depth = 2, .leaf_width = 4, .paths = 2, .decision_scale = 4}, kScaledSinusoidal),
      TinyConfig({.kind = kNeuronTree, .trees = 2, .depth = 2, .two_sided = true}, kSinusoidal),
      TinyConfig({.kind = kNone}, kLearned),
      TinyConfig({.kind = kNeuronTree, .depth = 3, .routing = TreeRouting::kRandom, .always_on = 3}, kLearned),
      TinyConfig({.kind = kNeuronTree, .depth = 3, .routing = TreeRouting::kTokenHash, .routing_seed = 5}, kLearned),
      TinyConfig({.kind = kMoe, .experts = 4, .expert_width = 3, .router = RouterKind::kNoisyTopK, .top_k = 2},
                 kLearned),
      TinyConfig({.kind = kProductKey, .top_k = 2, .key_heads = 2, .sub_keys = 3, .key_width = 4}, kLearned),
      Mixed(),
  };
}

torch::Tensor Ids() { return torch::arange(24, torch::kLong).view({2, 12}); }

TEST(Parameters, ADirectoryReadBackGivesTheSameLogits) {
  for (const ModelConfig& config : Configs()) {
    const test::TemporaryFolder folder;
    MaskedLm model(config, {});
    model.eval();
    for (auto& item : model.named_buffers()) {  // other hyperplanes than a new model has
      const torch::NoGradGuard no_grad;
      if (item.key().ends_with("decision_planes")) item.value().normal_();
    }
    const Status saved = SaveModel(model, config, folder.path(), {});
    ASSERT_TRUE(saved.ok()) << saved.error().message();
    auto directory = ModelDirectory::Open(folder.path());
    ASSERT_TRUE(directory.ok()) << directory.error().message();
    MaskedLm again(directory.value().config, {});
    again.eval();
    const Status loaded = LoadParameters(again, directory.value().weights);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_TRUE(torch::equal(model.Forward(Ids(), {}).logits, again.Forward(Ids(), {}).logits))
        << DescribeFeedForward(config);
  }
}

TEST(Parameters, ABertWhoseLayersDifferIsReadBack) {
  ModelConfig config = TinyConfig({.intermediate = 20}, PositionKind::kLearned);
  config.family = ModelFamily::kBert;
  config.token_types = 2;
  config.layer_feed_forward = {config.feed_forward, {.kind = FeedForwardKind::kMoe, .experts = 3, .expert_width = 2}};
  const test::TemporaryFolder folder;
  const std::shared_ptr<TextModel> model = MakeTextModel(config, {});
  model->eval();
  ASSERT_TRUE(SaveModel(*model, config, folder.path(), {}).ok());
  auto directory = ModelDirectory::Open(folder.path());
  ASSERT_TRUE(directory.ok()) << directory.error().message();
  const auto again = LoadTextModel(directory.value(), {});
  ASSERT_TRUE(again.ok()) << again.error().message();
  const TextInput input{.ids = Ids(), .attention_mask = {}, .token_types = {}};
  EXPECT_TRUE(torch::equal(model->Encode(input, nullptr).hidden, again.value()->Encode(input, nullptr).hidden));
}

// Training mode, every kind: no state of the layer but its parameters and buffers.
TEST(Parameters, EveryConfigTrains) {
  for (const ModelConfig& config : Configs()) {
    MaskedLm model(config, {.balance = -1});
    const MaskedLm::Loss loss = model.ComputeLoss(Ids(), {}, torch::tensor({3, 7}), torch::tensor({1, 2}));
    (loss.regularizer.defined() ? loss.masked_lm + loss.regularizer : loss.masked_lm).backward();
    EXPECT_TRUE(std::isfinite(loss.masked_lm.item<double>())) << DescribeFeedForward(config);
  }
}

TEST(Parameters, Bf16RoundsAndHalvesTheFile) {
  const ModelConfig config = Configs()[1];
  const test::TemporaryFolder folder;
  MaskedLm model(config, {});
  ASSERT_TRUE(SaveModel(model, config, folder.path(), {.bf16 = true}).ok());
  auto directory = ModelDirectory::Open(folder.path());
  ASSERT_TRUE(directory.ok()) << directory.error().message();
  MaskedLm again(config, {});
  ASSERT_TRUE(LoadParameters(again, directory.value().weights).ok());
  for (const auto& item : model.named_parameters()) {
    const torch::Tensor rounded = item.value().to(torch::kBFloat16).to(torch::kFloat);
    EXPECT_TRUE(torch::equal(again.named_parameters()[item.key()], rounded)) << item.key();
  }
}

TEST(Parameters, AMissingTensorIsNamed) {
  const test::TemporaryFolder folder;
  ASSERT_TRUE(SaveModel(MaskedLm(Configs()[3], {}), Configs()[3], folder.path(), {}).ok());
  auto file = SafetensorsFile::Open(folder.path() + "/model.safetensors");
  ASSERT_TRUE(file.ok());
  const MaskedLm dense(Configs()[0], {});
  const Status status = LoadParameters(dense, file.value());
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message().find("encoder.layers.0.norm2.weight"), std::string::npos)
      << status.error().message();
}

TEST(Parameters, TheTiedDecoderIsStoredOnRequest) {
  const test::TemporaryFolder folder;
  ASSERT_TRUE(SaveModel(MaskedLm(Configs()[0], {}), Configs()[0], folder.path(), {.include_decoder = true}).ok());
  auto file = SafetensorsFile::Open(folder.path() + "/model.safetensors");
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file.value().Has("decoder.weight"));
}

}  // namespace
}  // namespace grove::nn
