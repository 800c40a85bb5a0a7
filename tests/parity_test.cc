// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The two engines agree: what the LibTorch modules of nn/ save, the inference engine of model/ computes alike, to 1e-4,
// padding included; every kind of feedforward layer, and the model that ships with the source.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "grove/io/model_directory.h"
#include "grove/model/forward_file.h"
#include "grove/model/model.h"
#include "grove/nn/heads.h"
#include "grove/nn/parameters.h"
#include "tests/temporary_folder.h"

namespace grove {
namespace {

constexpr double kTolerance = 1e-4;

ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocabulary = 120;
  config.width = 48;
  config.layers = 2;
  config.heads = 4;
  config.max_length = 24;
  config.init_std = 0.3;  // logits of the order of 1
  config.feed_forward = {.intermediate = 96, .trees = 3, .depth = 3, .leaf_width = 10, .paths = 3, .decision_scale = 4};
  return config;
}

// Three sequences of random words, the second and third padded on the right.
struct RandomBatch {
  RandomBatch(int64_t vocabulary, int64_t token_length) : length(token_length) {
    std::mt19937_64 rng(5);
    for (int64_t s = 0; s < kSequences; ++s) {
      const int64_t used = length - s * length / 4;
      for (int64_t i = 0; i < length; ++i) {
        ids.push_back(i < used ? static_cast<int32_t>(rng() % static_cast<uint64_t>(vocabulary)) : 0);
        mask.push_back(i < used ? 1 : 0);
      }
    }
  }
  static constexpr int64_t kSequences = 3;
  int64_t length;
  std::vector<int32_t> ids;
  std::vector<uint8_t> mask;
};

void ExpectParity(nn::MaskedLm& trained, const std::string& folder) {
  ThreadPool pool(2);
  const Result<LoadedModel> loaded = LoadModel(folder, &pool, {.tokenizer = false});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  const ModelConfig& config = loaded.value().config();
  const RandomBatch batch(config.vocabulary, std::min<int64_t>(config.max_length, 24));
  const size_t tokens = batch.ids.size(), vocabulary = static_cast<size_t>(config.vocabulary);
  const Result<AlignedArray<float>> hidden =
      loaded.value().encoder.Forward({.ids = batch.ids,
                                      .mask = batch.mask,
                                      .batch = static_cast<size_t>(RandomBatch::kSequences),
                                      .length = static_cast<size_t>(batch.length)});
  ASSERT_TRUE(hidden.ok()) << hidden.error().message();
  std::vector<float> logits(tokens * vocabulary);
  loaded.value().masked_lm->Forward(hidden.value().data(), tokens, logits.data(), pool);

  const torch::NoGradGuard no_grad;
  trained.eval();
  const auto shape = {RandomBatch::kSequences, batch.length};
  const torch::Tensor ids = torch::tensor(batch.ids).view(shape).to(torch::kLong);
  const torch::Tensor mask = torch::tensor(batch.mask).view(shape).to(torch::kLong);
  const torch::Tensor expected = trained.Forward(ids, mask).logits.contiguous();
  const float* reference = expected.data_ptr<float>();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (batch.mask[i / vocabulary] == 0) continue;  // unspecified at padding
    ASSERT_NEAR(logits[i], reference[i], kTolerance) << "token " << i / vocabulary;
  }
}

class Parity : public testing::TestWithParam<FeedForwardKind> {};

TEST_P(Parity, InferenceEqualsTraining) {
  for (const PositionKind position : {PositionKind::kLearned, PositionKind::kScaledSinusoidal}) {
    for (const bool two_sided : {false, true}) {
      ModelConfig config = SmallConfig();
      config.position = position;
      config.feed_forward.kind = GetParam();
      if (GetParam() == FeedForwardKind::kLeafTree) config.feed_forward.trees = 1;
      config.feed_forward.two_sided = two_sided && GetParam() == FeedForwardKind::kNeuronTree;
      torch::manual_seed(3);
      nn::MaskedLm model(config, {});
      const test::TemporaryFolder folder;
      ASSERT_TRUE(nn::SaveModel(model, config, folder.path(), {}).ok());
      ExpectParity(model, folder.path());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Parity,
                         testing::Values(FeedForwardKind::kDense, FeedForwardKind::kLeafTree,
                                         FeedForwardKind::kNeuronTree, FeedForwardKind::kNone),
                         [](const auto& kind) { return std::string(FeedForwardKindName(kind.param)); });

TEST(Parity, LayersThatDiffer) {
  ModelConfig config = SmallConfig();
  config.layers = 4;
  config.layer_feed_forward.assign(4, config.feed_forward);
  config.layer_feed_forward[1].kind = FeedForwardKind::kLeafTree;
  config.layer_feed_forward[1].trees = 1;
  config.layer_feed_forward[2].kind = FeedForwardKind::kNone;
  config.layer_feed_forward[3].kind = FeedForwardKind::kNeuronTree;
  config.layer_feed_forward[3].routing = TreeRouting::kStraightThrough;  // in training only
  nn::MaskedLm model(config, {});
  const test::TemporaryFolder folder;
  ASSERT_TRUE(nn::SaveModel(model, config, folder.path(), {}).ok());
  ExpectParity(model, folder.path());
}

TEST(Parity, WhatInferenceDoesNotComputeIsRefused) {
  using enum FeedForwardKind;
  for (const FeedForwardConfig& layer :
       {FeedForwardConfig{.kind = kMoe, .experts = 4, .expert_width = 3},
        FeedForwardConfig{.kind = kProductKey, .key_heads = 1, .sub_keys = 3, .key_width = 4},
        FeedForwardConfig{.kind = kLeafTree, .depth = 2, .leaf_width = 3, .always_on = 2},
        FeedForwardConfig{.kind = kNeuronTree, .depth = 2, .routing = TreeRouting::kTokenHash}}) {
    ModelConfig config = SmallConfig();
    config.feed_forward = layer;
    const test::TemporaryFolder folder;
    ASSERT_TRUE(nn::SaveModel(nn::MaskedLm(config, {}), config, folder.path(), {}).ok());
    ThreadPool pool(1);
    const Result<LoadedModel> loaded = LoadModel(folder.path(), &pool, {.tokenizer = false});
    ASSERT_FALSE(loaded.ok()) << DescribeFeedForward(layer);
    EXPECT_NE(loaded.error().message().find(DescribeFeedForward(layer)), std::string::npos) << loaded.error().message();
  }
}

// The heads that fine-tuning gives a model, through the file that `grove forward` writes.
TEST(Parity, ClassificationHeads) {
  ModelConfig config = SmallConfig();
  config.feed_forward.kind = FeedForwardKind::kLeafTree;
  config.feed_forward.trees = 1;
  const HeadConfig heads[] = {
      {.kind = HeadKind::kSequenceClassification, .labels = 3, .pooler_dense = true, .pooler_width = 20},
      {.kind = HeadKind::kSequenceClassification, .labels = 1, .pooler_dense = false, .pooler_width = config.width},
      {.kind = HeadKind::kTokenClassification, .labels = 5, .pooler_width = config.width},
  };
  for (const HeadConfig& head : heads) {
    config.head = head;
    torch::manual_seed(4);
    const auto model = nn::MakeTextModel(config, {});
    model->eval();
    const test::TemporaryFolder folder;
    const std::string input = folder.path() + "/in.safetensors", output = folder.path() + "/out.safetensors";
    ASSERT_TRUE(nn::SaveModel(*model, config, folder.path(), {}).ok());
    const RandomBatch batch(config.vocabulary, 24);
    const std::vector<int64_t> ids(batch.ids.begin(), batch.ids.end()), mask(batch.mask.begin(), batch.mask.end());
    const Shape shape{RandomBatch::kSequences, batch.length};
    ASSERT_TRUE(
        WriteSafetensors(input, {{"input_ids", ViewOf(ids, shape)}, {"attention_mask", ViewOf(mask, shape)}}, {}).ok());
    ThreadPool pool(2);
    const Result<LoadedModel> loaded = LoadModel(folder.path(), &pool, {.tokenizer = false});
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    const auto report = ForwardFile(loaded.value(), input, output);
    ASSERT_TRUE(report.ok()) << report.error().message();
    const auto logits = SafetensorsFile::Open(output).value().ReadFloats("logits", report.value().logits).value();

    const torch::NoGradGuard no_grad;
    const nn::TextInput text{torch::tensor(ids).view(shape), torch::tensor(mask).view(shape), {}};
    const torch::Tensor expected = model->Logits(model->Encode(text, nullptr).hidden, {}).contiguous();
    ASSERT_EQ(static_cast<size_t>(expected.numel()), logits.size());
    const bool per_token = head.kind == HeadKind::kTokenClassification;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (per_token && mask[i / static_cast<size_t>(head.labels)] == 0) continue;
      ASSERT_NEAR(logits.data()[i], expected.data_ptr<float>()[i], kTolerance) << HeadKindName(head.kind) << ", " << i;
    }
  }
}

TEST(Parity, ShippedModel) {
  for (const auto& entry : std::filesystem::directory_iterator(GROVE_SOURCE_DIR "/models")) {
    const Result<ModelDirectory> directory = ModelDirectory::Open(entry.path().string());
    ASSERT_TRUE(directory.ok()) << directory.error().message();
    nn::MaskedLm model(directory.value().config, {});
    ASSERT_TRUE(nn::LoadParameters(model, directory.value().weights).ok());
    ExpectParity(model, entry.path().string());
  }
}

}  // namespace
}  // namespace grove
