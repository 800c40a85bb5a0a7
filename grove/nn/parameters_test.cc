// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/parameters.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grove/io/model_directory.h"
#include "grove/nn/heads.h"
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

std::vector<ModelConfig> Configs() {
  using enum FeedForwardKind;
  using enum PositionKind;
  return {
      TinyConfig({.kind = kDense, .intermediate = 32}, kLearned),
      TinyConfig({.kind = kLeafTree, .depth = 2, .leaf_width = 4, .paths = 2, .decision_scale = 4}, kScaledSinusoidal),
      TinyConfig({.kind = kNeuronTree, .trees = 2, .depth = 2, .two_sided = true}, kSinusoidal),
      TinyConfig({.kind = kNone}, kLearned),
  };
}

torch::Tensor Ids() { return torch::arange(24, torch::kLong).view({2, 12}); }

TEST(Parameters, ADirectoryReadBackGivesTheSameLogits) {
  for (const ModelConfig& config : Configs()) {
    const test::TemporaryFolder folder;
    MaskedLm model(config, {});
    model.eval();
    const Status saved = SaveModel(model, config, folder.path(), {});
    ASSERT_TRUE(saved.ok()) << saved.error().message();
    auto directory = ModelDirectory::Open(folder.path());
    ASSERT_TRUE(directory.ok()) << directory.error().message();
    MaskedLm again(directory.value().config, {});
    again.eval();
    const Status loaded = LoadParameters(again, directory.value().weights);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_TRUE(torch::equal(model.Forward(Ids(), {}).logits, again.Forward(Ids(), {}).logits))
        << DescribeFeedForward(config.feed_forward);
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
