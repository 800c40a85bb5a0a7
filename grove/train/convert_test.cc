// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/convert.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "grove/io/files.h"
#include "grove/io/model_directory.h"
#include "grove/nn/parameters.h"
#include "grove/nn/text_model.h"
#include "grove/train/packed_text_for_test.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class ConvertTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(WritePackedText(Path("data"))); }
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }

  ConvertOptions Options(const std::string& output) const {
    ConvertOptions options;
    options.model = Path("dense");
    options.output = Path(output);
    options.data = Path("data");
    options.leaves = 8;
    options.sample_tokens = 5000;
    options.heal_steps = 0;
    options.length = 16;
    options.validation_sequences = 32;
    options.device = "cpu";
    return options;
  }

  void TrainDense() const {
    PretrainOptions options;
    options.data = Path("data");
    options.output = Path("dense");
    options.layers = 2;
    options.width = 32;
    options.heads = 2;
    options.length = 16;
    options.positions = "learned";
    options.init_std = 0.1;
    options.feed_forward = "dense";
    options.intermediate = 64;
    options.batch = 16;
    options.learning_rate = 1e-2;
    options.steps = 200;
    options.validate_every = 0;
    options.device = "cpu";
    const auto summary = Pretrain(options, {});
    ASSERT_TRUE(summary.ok()) << summary.error().message();
  }

  // A BERT with random weights and a head of `kind`.
  void WriteBert(ModelFamily family, HeadKind kind) const {
    ModelConfig config;
    config.family = family;
    config.vocabulary = 25;
    config.width = 24;
    config.layers = 2;
    config.heads = 2;
    config.max_length = 20;
    config.token_types = family == ModelFamily::kBert ? 2 : 0;
    config.position = PositionKind::kLearned;
    config.final_norm = false;
    config.init_std = 0.3;
    config.feed_forward = {.intermediate = 60};
    config.head.kind = kind;
    config.head.labels = 3;
    config.head.decoder_bias = true;
    torch::manual_seed(3);
    fs::create_directory(Path("dense"));
    ASSERT_TRUE(nn::SaveModel(*nn::MakeTextModel(config, {}), config, Path("dense"), {}).ok());
  }

  static Json Run(const ConvertOptions& options) {
    const auto summary = Convert(options, {});
    EXPECT_TRUE(summary.ok()) << summary.error().message();
    return summary.ok() ? Json::parse(summary.value().report) : Json();
  }

  test::TemporaryFolder folder_;
};

TEST_F(ConvertTest, AllLeavesKeepTheModelAsItWas) {
  ASSERT_NO_FATAL_FAILURE(TrainDense());
  ConvertOptions options = Options("tree");
  options.paths = 8;
  const Json report = Run(options);
  for (const Json& layer : report["layers"]) EXPECT_LT(layer["error_converted"], 1e-4);
  EXPECT_NEAR(report["converted"]["loss"], report["converted"]["reference_loss"], 1e-4);
  EXPECT_LT(report["converted"]["kl"], 1e-5);
  EXPECT_EQ(report["converted"]["agreement"], 1.0);
}

TEST_F(ConvertTest, AQuarterOfTheLeavesBeatsRandomOnesAndHealingHelps) {
  ASSERT_NO_FATAL_FAILURE(TrainDense());
  ConvertOptions options = Options("tree");
  options.paths = 2;
  options.heal_steps = 60;
  options.learning_rate = 1e-3;
  const Json report = Run(options);
  ConvertOptions control = Options("control");
  control.paths = 2;
  control.grouping = control.routing = "random";
  const Json random = Run(control);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_LT(report["layers"][i]["error_converted"], random["layers"][i]["error_converted"]) << i;
    EXPECT_GT(report["layers"][i]["mass_reached"], random["layers"][i]["mass_reached"]) << i;
  }
  EXPECT_LT(report["converted"]["kl"], 0.5 * random["converted"]["kl"].get<double>()) << report << random;
  EXPECT_LT(report["healed"]["kl"], 0.7 * report["converted"]["kl"].get<double>()) << report;

  const auto directory = ModelDirectory::Open(options.output);
  ASSERT_TRUE(directory.ok()) << directory.error().message();
  EXPECT_EQ(directory.value().config.feed_forward.kind, FeedForwardKind::kLeafTree);
  EXPECT_FALSE(directory.value().tokenizer_path.empty());
  EXPECT_TRUE(nn::LoadTextModel(directory.value(), {}).ok());
  EXPECT_EQ(Json::parse(ReadTextFile(options.output + "/conversion.json").value())["healed"], report["healed"]);
}

TEST_F(ConvertTest, EveryHeadOfABert) {
  for (const ModelFamily family : {ModelFamily::kBert, ModelFamily::kDistilBert}) {
    for (const HeadKind kind :
         {HeadKind::kMaskedLm, HeadKind::kNone, HeadKind::kSequenceClassification, HeadKind::kTokenClassification}) {
      SCOPED_TRACE(std::string(ModelFamilyName(family)) + ", " + std::string(HeadKindName(kind)));
      ASSERT_TRUE(RemoveFolder(Path("dense")).ok());
      ASSERT_NO_FATAL_FAILURE(WriteBert(family, kind));
      ASSERT_TRUE(RemoveFolder(Path("tree")).ok());
      ConvertOptions options = Options("tree");
      options.paths = 4;
      options.sample_tokens = 1000;
      options.heal_steps = 20;
      options.learning_rate = 2e-3;
      const Json report = Run(options);
      if (kind == HeadKind::kNone) {
        EXPECT_GT(report["healed"]["hidden_cosine"], report["converted"]["hidden_cosine"]);
      } else {
        EXPECT_LT(report["healed"]["kl"], report["converted"]["kl"]);
      }
      const auto directory = ModelDirectory::Open(options.output);
      ASSERT_TRUE(directory.ok()) << directory.error().message();
      EXPECT_EQ(directory.value().config.family, family);
      EXPECT_EQ(directory.value().config.feed_forward.paths, 4);
      const auto model = nn::LoadTextModel(directory.value(), {});
      ASSERT_TRUE(model.ok()) << model.error().message();
    }
  }
}

TEST_F(ConvertTest, TextIsPackedWithTheModelsOwnTokenizer) {
  ASSERT_NO_FATAL_FAILURE(TrainDense());
  ConvertOptions options = Options("tree");
  options.data = "";
  options.text = Path("data-train.txt");
  const Json report = Run(options);
  EXPECT_GT(report["converted"]["agreement"], 0.3);
  EXPECT_FALSE(fs::exists(options.output + "/packed"));
}

TEST_F(ConvertTest, ErrorsAreOneSentence) {
  ASSERT_NO_FATAL_FAILURE(WriteBert(ModelFamily::kBert, HeadKind::kMaskedLm));
  const auto expect = [&](const std::function<void(ConvertOptions&)>& change, const std::string& word) {
    ConvertOptions options = Options("tree");
    change(options);
    const auto result = Convert(options, {});
    ASSERT_FALSE(result.ok()) << word;
    EXPECT_NE(result.error().message().find(word), std::string::npos) << result.error().message();
    EXPECT_EQ(result.error().message().find('\n'), std::string::npos);
    EXPECT_FALSE(fs::exists(options.output + "/config.json"));
  };
  expect([](ConvertOptions& o) { o.model = ""; }, "--model");
  expect([](ConvertOptions& o) { o.model = "/nowhere"; }, "/nowhere");
  expect([](ConvertOptions& o) { o.leaves = 12; }, "power of two");
  expect([](ConvertOptions& o) { o.paths = 9; }, "--paths");
  expect([](ConvertOptions& o) { o.leaf_width = 5; }, "60");
  expect([](ConvertOptions& o) { o.leaves = 64; }, "60 neurons");
  expect([](ConvertOptions& o) { o.text = o.data; }, "--data and --text");
  expect([](ConvertOptions& o) { o.length = 21; }, "--length is 21");
  expect(
      [](ConvertOptions& o) {
        o.text = o.data;
        o.data = "";
      },
      "has neither tokenizer.json nor vocab.txt");
  const std::string tree = Path("tree");
  ASSERT_FALSE(Run(Options("tree")).is_null());
  const auto again = Convert(Options("tree"), {});
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.error().message().find("--overwrite"), std::string::npos) << again.error().message();
  ConvertOptions twice = Options("other");
  twice.model = tree;
  const auto no_dense = Convert(twice, {});
  ASSERT_FALSE(no_dense.ok());
  EXPECT_NE(no_dense.error().message().find("leaf tree"), std::string::npos) << no_dense.error().message();
  twice.output = Options("tree").output + "-copy";
  fs::copy(tree, twice.output);
  ASSERT_FALSE(Convert(twice, {.overwrite = true}).ok());
  EXPECT_TRUE(fs::exists(twice.output + "/model.safetensors")) << "a refusal keeps the model that was there";
}

}  // namespace
}  // namespace grove::train
