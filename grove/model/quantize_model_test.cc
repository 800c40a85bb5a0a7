// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/quantize_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "grove/data/pack_text.h"
#include "grove/io/files.h"
#include "grove/io/model_directory.h"
#include "grove/kernels/target.h"
#include "grove/model/model.h"
#include "grove/model/random_model.h"
#include "grove/quant/round_weights.h"
#include "tests/temporary_folder.h"

namespace grove {
namespace {

namespace fs = std::filesystem;

bool Go(double, const std::string&) { return true; }

bool Same(const AlignedArray<float>& a, const AlignedArray<float>& b) {
  return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
}

struct NamedConfig {
  std::string name;
  ModelConfig config;
};

// Every kind of feedforward layer, and the heads.
std::vector<NamedConfig> Configs() {
  std::vector<NamedConfig> configs;
  const auto add = [&](const char* name, const FeedForwardConfig& layer) {
    configs.push_back({name, test::SmallConfig()});
    configs.back().config.feed_forward = layer;
  };
  add("dense", {.kind = FeedForwardKind::kDense, .intermediate = 36});
  add("glu", {.kind = FeedForwardKind::kDense, .nonlinearity = NonLinearity::kGeluGlu, .intermediate = 36});
  add("leaf_tree", {.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 5, .paths = 2, .always_on = 6});
  add("neuron_tree", {.kind = FeedForwardKind::kNeuronTree, .trees = 3, .depth = 3});
  add("two_sided", {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 2, .two_sided = true});
  add("random_tree", {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 2, .routing = TreeRouting::kRandom});
  add("moe", {.kind = FeedForwardKind::kMoe, .experts = 4, .expert_width = 6, .top_k = 2});
  add("product_key", {.kind = FeedForwardKind::kProductKey, .top_k = 2, .key_heads = 2, .sub_keys = 4, .key_width = 8});
  add("none", {.kind = FeedForwardKind::kNone});
  add("classifier", {.kind = FeedForwardKind::kDense, .intermediate = 36});
  configs.back().config.head = {
      .kind = HeadKind::kSequenceClassification, .labels = 3, .pooler_width = 20, .label_names = {"a", "b", "c"}};
  return configs;
}

class QuantizeModelTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(Model()); }

  std::string Model() const { return folder_.path() + "/model"; }
  std::string Output() const { return folder_.path() + "/output"; }

  void Write(const ModelConfig& config) {
    test::WriteModel(Model(), config, test::MakeRandomTensors(config, 5));
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nriver\nand\nof\nhad\n.\n,\n##s\n";
    for (char letter = 'a'; letter <= 'z'; ++letter) vocabulary += std::string(1, letter) + "\n";
    ASSERT_TRUE(WriteTextFile(Model() + "/vocab.txt", vocabulary).ok());
  }

  Result<QuantizeReport> Quantize(Precision precision, bool overwrite = false) {
    return QuantizeModel({.model = Model(), .output = Output(), .precision = precision, .overwrite = overwrite}, &pool_,
                         Go);
  }

  ModelOutput Run(const std::string& path, std::optional<Precision> precision) {
    const LoadedModel model =
        LoadModel(path, &pool_, {.tokenizer = false, .encoder = {.precision = precision}}).value();
    std::vector<int32_t> ids(3 * 8);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>((i * 17 + 3) % 39);
    std::vector<uint8_t> mask(ids.size(), 1);
    mask[15] = mask[22] = mask[23] = 0;
    return RunModel(model, {.ids = ids, .mask = mask, .batch = 3, .length = 8}).value();
  }

  std::string Refusal(const Result<QuantizeReport>& result) { return result.ok() ? "" : result.error().message(); }

  // Of the folder: everything but what a quantized model is made of would be a leftover.
  size_t Entries() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_.path())) ++count;
    return count;
  }

  test::TemporaryFolder folder_;
  ThreadPool pool_{2};
};

TEST_F(QuantizeModelTest, EveryKindRunsBitForBitAsTheOriginalInThatPrecision) {
  for (const auto& [name, config] : Configs()) {
    SCOPED_TRACE(name);
    Write(config);
    const ModelOutput fp32 = Run(Model(), Precision::kFp32);
    for (const Precision precision : {Precision::kInt8, Precision::kBf16}) {
      SCOPED_TRACE(PrecisionName(precision));
      const Result<QuantizeReport> report = Quantize(precision, /*overwrite=*/true);
      ASSERT_TRUE(report.ok()) << report.error().message();
      EXPECT_EQ(ModelDirectory::Open(Output()).value().config.weight_precision, precision);
      const ModelOutput expected = Run(Model(), precision), actual = Run(Output(), {});
      EXPECT_TRUE(Same(actual.hidden, expected.hidden));
      EXPECT_TRUE(Same(actual.logits, expected.logits));
      EXPECT_FALSE(Same(actual.hidden, fp32.hidden));  // it really is rounded
      EXPECT_TRUE(Same(Run(Output(), precision).hidden, expected.hidden));
      // Widened to fp32, only the inputs keep their digits.
      const ModelOutput widened = Run(Output(), Precision::kFp32);
      for (size_t i = 0; i < fp32.hidden.size(); ++i) EXPECT_NEAR(widened.hidden[i], fp32.hidden[i], 0.5);
    }
  }
}

// Kinds that stay in fp32 are as near as fp32 is.
TEST_F(QuantizeModelTest, Int8GivesTheSameBitsOnEveryInstructionSet) {
  for (const auto& [name, config] : Configs()) {
    SCOPED_TRACE(name);
    Write(config);
    ASSERT_TRUE(Quantize(Precision::kInt8, /*overwrite=*/true).ok());
    std::optional<ModelOutput> first;
    for (const std::string& target : AvailableTargets()) {
      SCOPED_TRACE(target);
      ASSERT_TRUE(ForceTarget(target).ok());
      const ModelOutput output = Run(Output(), {});
      if (!first) {
        first.emplace(Run(Output(), {}));
      } else if (HasLowPrecision(config.feed_forward)) {
        EXPECT_TRUE(Same(output.hidden, first->hidden));
        EXPECT_TRUE(Same(output.logits, first->logits));
      } else {
        for (size_t i = 0; i < output.hidden.size(); ++i) EXPECT_NEAR(output.hidden[i], first->hidden[i], 0.1);
      }
    }
    ASSERT_TRUE(ForceTarget("best").ok());
  }
}

TEST_F(QuantizeModelTest, ReportsTheErrorOfEveryLayerAndTheLoss) {
  Write(test::SmallConfig());
  const QuantizeReport report = Quantize(Precision::kInt8).value();
  const PrecisionComparison& compared = report.comparison;
  ASSERT_EQ(compared.hidden_error.size(), 4u);  // embedding, two layers, final norm
  for (const double error : compared.hidden_error) {
    EXPECT_GT(error, 0);
    EXPECT_LT(error, 0.1);
  }
  ASSERT_TRUE(compared.loss.has_value());
  EXPECT_NEAR(compared.loss->relative(), 0, 0.1);
  EXPECT_GT(*compared.same_answer, 0.7);
  EXPECT_GT(compared.answers, 20u);
  EXPECT_GT(compared.sequences, 10u);
  EXPECT_TRUE(report.kept.empty());
  EXPECT_EQ(report.matrices, 9u);  // the embedding, and query to value, out, and two of the dense layer in two layers
}

// Packed text has a tokenizer for a model without one; its held-out side is what is measured on.
TEST_F(QuantizeModelTest, MeasuresOnPackedText) {
  Write(test::SmallConfig());
  const std::string text = folder_.path() + "/text.txt", packed = folder_.path() + "/packed";
  std::string documents;
  for (int i = 0; i < 20; ++i)
    documents += "a river and the s of b c d e f g , " + std::string(1 + i % 7, 'h') + " .\n\n";
  ASSERT_TRUE(WriteTextFile(text, documents).ok());
  ASSERT_TRUE(
      PackText({.texts = {text}, .valid_texts = {text}, .tokenizer = Model() + "/vocab.txt", .output = packed}, {})
          .ok());
  fs::remove(Model() + "/vocab.txt");
  EXPECT_NE(Quantize(Precision::kInt8).value().text.find("no tokenizer"), std::string::npos);
  const QuantizeReport report =
      QuantizeModel(
          {.model = Model(), .output = Output(), .overwrite = true, .text = {.data = packed, .sequences = 12}}, &pool_,
          Go)
          .value();
  EXPECT_EQ(report.comparison.sequences, 12u);
  EXPECT_TRUE(report.comparison.loss.has_value());
}

TEST_F(QuantizeModelTest, ClassifiersReportTheSameAnswers) {
  Write(Configs().back().config);
  const QuantizeReport report = Quantize(Precision::kInt8).value();
  EXPECT_FALSE(report.comparison.loss.has_value());
  ASSERT_TRUE(report.comparison.same_answer.has_value());
  EXPECT_EQ(report.comparison.answers, report.comparison.sequences);
  EXPECT_EQ(ModelDirectory::Open(Output()).value().config.head.label_names, (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(QuantizeModelTest, SaysWhichLayersStayInFp32) {
  ModelConfig config = test::SmallConfig();
  config.layer_feed_forward = {config.feed_forward,
                               {.kind = FeedForwardKind::kMoe, .experts = 4, .expert_width = 6, .top_k = 2}};
  Write(config);
  const QuantizeReport report = Quantize(Precision::kInt8).value();
  ASSERT_EQ(report.kept.size(), 1u);
  EXPECT_EQ(report.kept[0].layers, std::vector<int64_t>{1});
  const ModelDirectory written = ModelDirectory::Open(Output()).value();
  EXPECT_EQ(written.weights.Find("encoder.layers.1.ffn.w1s").value().dtype, DType::kF32);
  EXPECT_EQ(written.weights.Find("encoder.layers.0.ffn.dense_in.weight").value().dtype, DType::kI8);
  EXPECT_EQ(written.weights.Find("encoder.layers.0.ffn.dense_in.weight_scale").value().shape, Shape{36});
  EXPECT_EQ(written.weights.Find("encoder.final_norm.weight").value().dtype, DType::kF32);
}

TEST_F(QuantizeModelTest, KeepsTheOtherFilesAndSaysHowItWasMade) {
  Write(test::SmallConfig());
  ASSERT_TRUE(WriteTextFile(Model() + "/README.md", "# a card\n").ok());
  ASSERT_TRUE(WriteTextFile(Model() + "/tokenizer_config.json", "{}").ok());
  ASSERT_TRUE(WriteTextFile(Model() + "/pytorch_model.bin", "other weights").ok());
  ASSERT_TRUE(Quantize(Precision::kInt8).ok());
  const std::string card = ReadTextFile(Output() + "/README.md").value();
  EXPECT_TRUE(card.starts_with("# a card\n")) << card;
  EXPECT_NE(card.find("grove quantize --precision int8"), std::string::npos) << card;
  EXPECT_TRUE(fs::exists(Output() + "/vocab.txt"));
  EXPECT_TRUE(fs::exists(Output() + "/tokenizer_config.json"));
  EXPECT_TRUE(fs::exists(Output() + "/quantization.json"));
  EXPECT_FALSE(fs::exists(Output() + "/pytorch_model.bin"));
}

TEST_F(QuantizeModelTest, RefusesWhatItCannotDoAndLeavesNothing) {
  ModelConfig config = test::SmallConfig();
  Write(config);
  fs::create_directories(Output());  // an empty folder is taken
  ASSERT_TRUE(Quantize(Precision::kInt8).ok());
  EXPECT_NE(Refusal(Quantize(Precision::kInt8)).find("--overwrite"), std::string::npos);
  const auto again = QuantizeModel({.model = Output(), .output = folder_.path() + "/again"}, &pool_, Go);
  EXPECT_NE(Refusal(again).find("quantized to int8 already"), std::string::npos) << Refusal(again);
  const auto itself = QuantizeModel({.model = Model(), .output = Model() + "/", .overwrite = true}, &pool_, Go);
  EXPECT_NE(Refusal(itself).find("is the model itself"), std::string::npos) << Refusal(itself);
  const auto stopped = QuantizeModel({.model = Model(), .output = folder_.path() + "/stopped"}, &pool_,
                                     [](double done, const std::string&) { return done < 0.3; });
  EXPECT_FALSE(stopped.ok());
  EXPECT_EQ(Entries(), 2u);  // model and output

  test::RandomTensors tensors = test::MakeRandomTensors(config, 5);
  tensors["encoder.layers.1.attn.dense.weight"].values[7] = std::numeric_limits<float>::quiet_NaN();
  test::WriteModel(Model(), config, tensors);
  const auto damaged = Quantize(Precision::kInt8, /*overwrite=*/true);
  EXPECT_NE(Refusal(damaged).find("encoder.layers.1.attn.dense.weight"), std::string::npos) << Refusal(damaged);
  EXPECT_EQ(Entries(), 2u);
  EXPECT_TRUE(LoadModel(Output(), &pool_, {}).ok());  // the one before is still there
}

// Files of other hands.
TEST_F(QuantizeModelTest, BadScalesAndTypesAreErrors) {
  const ModelConfig config = test::SmallConfig();
  Write(config);
  ASSERT_TRUE(Quantize(Precision::kInt8).ok());
  const ModelDirectory sound = ModelDirectory::Open(Output()).value();
  const std::string name = "encoder.layers.0.attn.dense.weight";
  const auto refusal = [&](const std::function<void(TensorMap&)>& change) {
    TensorMap tensors = sound.weights.tensors();
    change(tensors);
    const std::string file = Output() + "/other";
    EXPECT_TRUE(WriteSafetensors(file, tensors, {}).ok());
    const SafetensorsFile opened = SafetensorsFile::Open(file).value();
    const auto encoder = Encoder::Load(FileParameters(opened, sound.config), sound.config, &pool_);
    return encoder.ok() ? "" : encoder.error().message();
  };
  EXPECT_EQ(refusal([](TensorMap&) {}), "");
  EXPECT_NE(refusal([&](TensorMap& t) { t.erase(name + "_scale"); }).find(name + "_scale"), std::string::npos);
  std::vector<float> scales(20, 0.01f);
  const std::vector<float> fewer(19, 0.01f);
  EXPECT_NE(refusal([&](TensorMap& t) { t[name + "_scale"] = ViewOf(fewer, {19}); }).find("[20]"), std::string::npos);
  for (const float bad : {-1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    scales[3] = bad;
    EXPECT_NE(refusal([&](TensorMap& t) { t[name + "_scale"] = ViewOf(scales, {20}); }).find("no scale"),
              std::string::npos);
  }
  // A norm is never int8.
  const std::vector<int8_t> norm(20, 3);
  EXPECT_NE(refusal([&](TensorMap& t) { t["encoder.final_norm.weight"] = ViewOf(norm, {20}); }).find("I8"),
            std::string::npos);
}

TEST(RoundWeights, ColumnsAreRoundedAsTheRowsOfTheTransposed) {
  constexpr size_t kDepth = 37, kColumns = 70;
  std::vector<float> matrix(kDepth * kColumns), transposed(matrix.size());
  for (size_t k = 0; k < kDepth; ++k) {
    for (size_t c = 0; c < kColumns; ++c) {
      matrix[k * kColumns + c] = transposed[c * kDepth + k] = std::sin(static_cast<float>(k * 131 + c * 17));
    }
  }
  const Weights columns =
      RoundWeights(matrix.data(), {.groups = 1, .depth = kDepth, .columns = kColumns}, Precision::kInt8);
  const Weights rows = RoundWeights(transposed.data(), {.groups = kColumns, .depth = kDepth}, Precision::kInt8);
  for (size_t c = 0; c < kColumns; ++c) {
    EXPECT_EQ(columns.scales[c], rows.scales[c]);
    for (size_t k = 0; k < kDepth; ++k) {
      EXPECT_EQ(columns.int8[k * kColumns + c], rows.int8[c * kDepth + k]);
      EXPECT_NEAR(static_cast<float>(rows.int8[c * kDepth + k]) * rows.scales[c], transposed[c * kDepth + k],
                  rows.scales[c] * 0.501f);
    }
  }
}

}  // namespace
}  // namespace grove
