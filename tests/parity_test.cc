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
#include "grove/model/quantize_model.h"
#include "grove/nn/heads.h"
#include "grove/nn/layers_for_test.h"
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
  const Result<LoadedModel> loaded =
      LoadModel(folder, &pool, {.tokenizer = false, .encoder = {.precision = Precision::kFp32}});
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

// A model with nothing left at zero, as training leaves it: a zero router would choose between equals.
void Stir(torch::nn::Module& model) {
  torch::manual_seed(3);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : model.parameters()) {
    if (parameter.numel() > 0 && parameter.count_nonzero().item<int64_t>() == 0) parameter.normal_(0.0, 0.3);
  }
}

void ExpectParityOf(const ModelConfig& config) {
  torch::manual_seed(3);
  nn::MaskedLm model(config, {});
  Stir(model);
  const test::TemporaryFolder folder;
  ASSERT_TRUE(nn::SaveModel(model, config, folder.path(), {}).ok());
  ExpectParity(model, folder.path());
}

// Training goes on from a quantized model: from the weights that its integers and scales stand for.
void ExpectParityOfInt8(const ModelConfig& config) {
  const test::TemporaryFolder folder;
  const std::string original = folder.path() + "/original", narrow = folder.path() + "/int8";
  ASSERT_TRUE(std::filesystem::create_directory(original));
  torch::manual_seed(3);
  nn::MaskedLm model(config, {}), again(config, {});
  Stir(model);
  ASSERT_TRUE(nn::SaveModel(model, config, original, {}).ok());
  ThreadPool pool(2);
  const auto report =
      QuantizeModel({.model = original, .output = narrow}, &pool, [](double, const std::string&) { return true; });
  ASSERT_TRUE(report.ok()) << report.error().message();
  const auto directory = ModelDirectory::Open(narrow);
  ASSERT_TRUE(directory.ok()) << directory.error().message();
  const Status loaded = nn::LoadParameters(again, directory.value().weights);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  ExpectParity(again, narrow);
  // What is saved then is no quantized model.
  ASSERT_TRUE(nn::SaveModel(again, directory.value().config, original, {}).ok());
  ExpectParity(again, original);
}

TEST(Parity, QuantizedModels) {
  using enum FeedForwardKind;
  const FeedForwardConfig layers[] = {
      {.kind = kDense, .intermediate = 96},
      {.kind = kNeuronTree, .trees = 3, .depth = 4, .two_sided = true, .always_on = 24},
      {.kind = kLeafTree, .depth = 4, .leaf_width = 20, .paths = 5, .decision_scale = 4, .always_on = 24},
      {.kind = kMoe, .experts = 12, .expert_width = 20, .top_k = 3}};
  for (const FeedForwardConfig& layer : layers) {
    SCOPED_TRACE(DescribeFeedForward(layer));
    ModelConfig config = SmallConfig();
    config.feed_forward = layer;
    ExpectParityOfInt8(config);
  }
}

// Every kind and mode that the modules' own tests know; a model of two such layers.
class Parity : public testing::TestWithParam<nn::test::LayerCase> {};

TEST_P(Parity, InferenceEqualsTraining) {
  for (const PositionKind position : {PositionKind::kLearned, PositionKind::kScaledSinusoidal}) {
    ModelConfig config = SmallConfig();
    config.position = position;
    config.feed_forward = GetParam().config;
    ExpectParityOf(config);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Parity, testing::ValuesIn(nn::test::LayerCases()),
                         [](const auto& layer) { return layer.param.name; });

// Larger than the modules' tests have it: several rows of a vector, more choices.
TEST(Parity, LargerLayers) {
  using enum FeedForwardKind;
  const FeedForwardConfig layers[] = {
      {.kind = kDense, .intermediate = 96},
      {.kind = kNeuronTree, .trees = 3, .depth = 6, .two_sided = true, .routing = TreeRouting::kTokenHash},
      {.kind = kNeuronTree, .trees = 3, .depth = 6, .routing = TreeRouting::kRandom, .always_on = 24},
      {.kind = kLeafTree, .trees = 2, .depth = 5, .leaf_width = 20, .paths = 5, .decision_scale = 4},
      {.kind = kMoe, .experts = 33, .expert_width = 20, .top_k = 5},
      {.kind = kProductKey, .top_k = 12, .key_heads = 4, .sub_keys = 17, .key_width = 32},
      {.kind = kNone}};
  for (const FeedForwardConfig& layer : layers) {
    SCOPED_TRACE(DescribeFeedForward(layer));
    ModelConfig config = SmallConfig();
    config.feed_forward = layer;
    ExpectParityOf(config);
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
      {.kind = HeadKind::kSequenceClassification, .labels = 2, .pooler = PoolerKind::kMean, .pooler_width = 20},
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
    const auto logits = SafetensorsFile::Open(output).value().ReadFloats("logits", report.value().at("logits")).value();

    const torch::NoGradGuard no_grad;
    const nn::TextInput text{torch::tensor(ids).view(shape), torch::tensor(mask).view(shape), {}};
    const torch::Tensor expected =
        model->Logits(model->Encode(text, nullptr).hidden, text.attention_mask, {}).contiguous();
    ASSERT_EQ(static_cast<size_t>(expected.numel()), logits.size());
    const bool per_token = head.kind == HeadKind::kTokenClassification;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (per_token && mask[i / static_cast<size_t>(head.labels)] == 0) continue;
      ASSERT_NEAR(logits.data()[i], expected.data_ptr<float>()[i], kTolerance) << HeadKindName(head.kind) << ", " << i;
    }
  }
}

TEST(Parity, LayersThatDiffer) {
  ModelConfig config = SmallConfig();
  config.layer_feed_forward.clear();
  for (const nn::test::LayerCase& layer : nn::test::LayerCases()) config.layer_feed_forward.push_back(layer.config);
  config.layer_feed_forward.push_back({.kind = FeedForwardKind::kNone});
  config.layers = static_cast<int64_t>(config.layer_feed_forward.size());
  config.init_std = 0.1;  // thirty layers deep
  ExpectParityOf(config);
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
