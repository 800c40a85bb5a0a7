// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/pretrain_options.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "grove/io/files.h"
#include "grove/train/dry_run.h"
#include "grove/train/schedule.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

Option Find(PretrainOptions& options, std::string_view name) {
  const OptionList list = PretrainOptionList(options);
  const Option* option = FindOption(list, name);
  if (option == nullptr) ADD_FAILURE() << name;
  return option == nullptr ? list.front() : *option;
}

TEST(PretrainOptions, EveryOptionSurvivesTextAndFile) {
  const test::TemporaryFolder folder;
  PretrainOptions options;
  options.about = "a test";
  options.learning_rate = 0.00123456789;
  options.seed = 123456789012;
  options.two_sided = true;
  const std::string path = folder.path() + "/options.json";
  ASSERT_TRUE(WriteTextFile(path, OptionsJson(options).dump()).ok());
  PretrainOptions from_file, from_text;
  const Status read = ReadOptionsFile(path, PretrainOptionList(from_file), "pretrain");
  ASSERT_TRUE(read.ok()) << read.error().message();
  std::set<std::string> names;
  for (const Option& option : PretrainOptionList(options)) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name << " is declared twice";
    const Status set = SetOption(Find(from_text, option.name), OptionText(option), option.name);
    EXPECT_TRUE(set.ok()) << set.error().message();
  }
  EXPECT_EQ(OptionsJson(from_file), OptionsJson(options));
  EXPECT_EQ(OptionsJson(from_text), OptionsJson(options));
}

TEST(PretrainOptions, WrongValuesAreNamed) {
  PretrainOptions options;
  const std::pair<const char*, const char*> wrong[] = {
      {"layers", "0"},       {"layers", "two"}, {"layers", "1.5"},        {"learning_rate", "nan"},
      {"device", "tpu"},     {"bf16", "maybe"}, {"feed_forward", "leaf"}, {"seed", "-1"},
      {"depth", "99"},       {"width", ""},     {"steps", "1e400"},       {"learning_rate", "1e-3x"},
      {"device", "auto cpu"}};
  for (const auto& [name, value] : wrong) {
    const Option option = Find(options, name);
    const Status status = SetOption(option, value, FlagName(option));
    ASSERT_FALSE(status.ok()) << name << " " << value;
    EXPECT_NE(status.error().message().find(FlagName(option)), std::string::npos);
  }
  EXPECT_TRUE(SetOption(Find(options, "tokens"), "1e9", "").ok());
  EXPECT_EQ(options.tokens, 1'000'000'000);
}

TEST(PretrainOptions, BadFilesAreRefused) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() + "/bad.json";
  for (const char* text : {"", "[]", "{\"layers\": }", "{\"layres\": 2}", "{\"layers\": \"2\"}", "{\"device\": 1}",
                           "{\"layers\": [2]}", "{\"layers\": null}", "{\"layers\": 2.5}"}) {
    ASSERT_TRUE(WriteTextFile(path, text).ok());
    PretrainOptions options;
    const Status status = ReadOptionsFile(path, PretrainOptionList(options), "pretrain");
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_NE(status.error().message().find("bad.json"), std::string::npos) << status.error().message();
  }
}

TEST(PretrainOptions, TheShapeOfARunMayNotChangeOnResume) {
  PretrainOptions options;
  const auto recorded = OptionsJson(options);
  options.steps = 7;  // a longer budget is welcome
  EXPECT_TRUE(CheckSameRun(PretrainOptionList(options), recorded).ok());
  options.width = 128;
  const Status status = CheckSameRun(PretrainOptionList(options), recorded);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message().find("--width is 128 but the run to resume has 256"), std::string::npos);
}

TEST(PretrainOptions, AModelThatCannotBeIsRefused) {
  PretrainOptions options;
  EXPECT_TRUE(ModelConfigOf(options, 0, 4096, 0).ok());
  options.paths = 17;  // of 16 leaves
  EXPECT_FALSE(ModelConfigOf(options, 0, 4096, 0).ok());
}

TEST(Schedule, TheRateIsTheRecipesTriangle) {
  EXPECT_DOUBLE_EQ(RateFactor(0.0), 0.25);
  EXPECT_DOUBLE_EQ(RateFactor(0.5), 0.75);
  EXPECT_DOUBLE_EQ(RateFactor(0.75), 1.0);
  EXPECT_DOUBLE_EQ(RateFactor(0.875), 0.5);
  EXPECT_DOUBLE_EQ(RateFactor(1.0), 0.0);
  EXPECT_DOUBLE_EQ(RateFactor(1.2), 0.0);  // a budget of minutes is overrun by part of a step
}

TEST(Schedule, TheBatchGrowsLinearly) {
  PretrainOptions options;
  options.batch = 80;
  options.micro_batch = 8;
  EXPECT_EQ(MicroBatches(options, 0.0), 10);
  options.batch_ramp = 0.5;
  EXPECT_EQ(MicroBatches(options, 0.0), 1);
  EXPECT_EQ(MicroBatches(options, 0.25), 5);
  EXPECT_EQ(MicroBatches(options, 0.5), 10);
  EXPECT_EQ(MicroBatches(options, 0.9), 10);
}

TEST(Schedule, ThePublishedBatchIsFullAtSixtyPercent) {
  PretrainOptions options;
  const Status read =
      ReadOptionsFile(GROVE_SOURCE_DIR "/configs/crammed-bert.json", PretrainOptionList(options), "pretrain");
  ASSERT_TRUE(read.ok()) << read.error().message();
  const int64_t full = 8192 / options.micro_batch;
  for (int percent = 0; percent <= 100; ++percent) {
    const double expected = std::min(1.0, percent / 60.0) * static_cast<double>(full);
    EXPECT_NEAR(static_cast<double>(MicroBatches(options, percent / 100.0)), std::max(1.0, expected), 0.5 + 1e-9)
        << percent;
  }
  EXPECT_EQ(MicroBatches(options, 0.6), full);
}

// Everything that users may copy from must run.
TEST(PretrainOptions, EveryConfigurationFileIsAccepted) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(GROVE_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".json") continue;
    ++files;
    PretrainOptions options;
    const Status read = ReadOptionsFile(entry.path().string(), PretrainOptionList(options), "pretrain");
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_FALSE(options.about.empty()) << entry.path();
    options.data = options.output = "somewhere";
    if (options.minutes == 0 && options.steps == 0 && options.tokens == 0) options.steps = 1;  // the user's choice
    const Status checked = CheckOptions(options);
    EXPECT_TRUE(checked.ok()) << entry.path() << ": " << checked.error().message();
    const auto model = ModelConfigOf(options, options.dropout, 32768, 0);
    EXPECT_TRUE(model.ok()) << entry.path() << ": " << model.error().message();
  }
  EXPECT_GE(files, 9);
}

TEST(Schedule, EveryBudgetHasAFraction) {
  const Progress progress{.step = 10, .tokens = 500, .sequences = 5, .seconds = 30};
  PretrainOptions options;
  options.steps = 40;
  EXPECT_DOUBLE_EQ(BudgetFraction(options, progress), 0.25);
  options.steps = 0;
  options.tokens = 1000;
  EXPECT_DOUBLE_EQ(BudgetFraction(options, progress), 0.5);
  options.tokens = 0;
  options.minutes = 1;
  EXPECT_DOUBLE_EQ(BudgetFraction(options, progress), 0.5);
}

TEST(ModelOptions, EveryKindIsAnOptionAway) {
  PretrainOptions options;
  for (const char* kind : {"dense", "leaf_tree", "moe", "neuron_tree", "none", "product_key"}) {
    options.feed_forward = kind;
    const Result<ModelConfig> config = ModelConfigOf(options, 0, 100, 0);
    ASSERT_TRUE(config.ok()) << config.error().message();
    EXPECT_EQ(FeedForwardKindName(config.value().feed_forward.kind), kind);
    EXPECT_TRUE(config.value().layer_feed_forward.empty());
  }
  for (const char* routing : {"hard", "straight_through", "random", "token_hash"}) {
    options.feed_forward = "neuron_tree";
    options.routing = routing;
    const Result<ModelConfig> config = ModelConfigOf(options, 0, 100, 0);
    ASSERT_TRUE(config.ok()) << config.error().message();
    EXPECT_NE(ModelConfigJson(config.value()).find(routing == std::string("hard") ? "fff" : routing),
              std::string::npos);
  }
  options = {};
  options.feed_forward = "moe";
  options.top_k = 33;
  const Result<ModelConfig> config = ModelConfigOf(options, 0, 100, 0);
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().message().find("experts_per_token"), std::string::npos) << config.error().message();
}

TEST(ModelOptions, LayersMayDiffer) {
  PretrainOptions options;
  options.layers = 6;
  options.layer_feed_forward = " 0-1: feed_forward=dense intermediate=512 ; 3,5: feed_forward=none;5:paths=4 ;";
  const Result<ModelConfig> result = ModelConfigOf(options, 0, 100, 0);
  ASSERT_TRUE(result.ok()) << result.error().message();
  const ModelConfig& config = result.value();
  EXPECT_EQ(config.layer_feed_forward.size(), 6u);
  EXPECT_EQ(config.FeedForwardOf(1).intermediate, 512);
  EXPECT_EQ(config.FeedForwardOf(1).kind, FeedForwardKind::kDense);
  EXPECT_EQ(config.FeedForwardOf(2), config.feed_forward);
  EXPECT_EQ(config.FeedForwardOf(3).kind, FeedForwardKind::kNone);
  EXPECT_EQ(config.FeedForwardOf(5).kind, FeedForwardKind::kLeafTree);  // the later entry counts
  EXPECT_EQ(config.FeedForwardOf(5).paths, 4);

  const std::pair<const char*, const char*> wrong[] = {
      {"0 feed_forward=none", "no colon"},
      {"0: feedforward=none", "\"feedforward=none\", which is no option of a layer"},
      {"0: layers=3", "no option of a layer"},
      {"0: depth=99", "depth is 99 and must be from 0 to 24"},
      {"0: depth", "must be a whole number"},
      {"6: paths=1", "which are not among 0-5"},
      {"3-1: paths=1", "not among"},
      {"a-b: paths=1", "names no layers"},
      {"1-: paths=1", "names no layers"},
      {"0: paths=17", "leaf_paths"}};
  for (const auto& [text, problem] : wrong) {
    options.layer_feed_forward = text;
    const Result<ModelConfig> refused = ModelConfigOf(options, 0, 100, 0);
    ASSERT_FALSE(refused.ok()) << text;
    EXPECT_NE(refused.error().message().find(problem), std::string::npos) << refused.error().message();
  }
}

TEST(DryRun, CountsTheStepsOfEveryBudget) {
  PretrainOptions options;
  options.batch = 100;
  options.micro_batch = 10;
  options.steps = 7;
  Progress whole = RunToTheEnd(options, 50, 0.01);
  EXPECT_EQ(whole.step, 7);
  EXPECT_EQ(whole.tokens, 7 * 100 * 50);
  EXPECT_NEAR(whole.seconds, 7, 1e-9);
  options.steps = 0;
  options.tokens = 10'000;  // two full batches
  EXPECT_EQ(RunToTheEnd(options, 50, 0.01).step, 2);
  options.batch_ramp = 1;  // 1, 1, 1, 1, 1, 1, 1, 1, 2, ... micro-batches of 500 tokens
  EXPECT_GT(RunToTheEnd(options, 50, 0.01).step, 5);
  options.batch_ramp = 0;
  options.tokens = 0;
  options.minutes = 1;
  EXPECT_EQ(RunToTheEnd(options, 50, 0.01).step, 60);
}

TEST(DryRun, CountsTheArithmeticOfBertBase) {
  // Without embeddings BERT-base has 85 M weights in its layers: 6 FLOP each, attention and the decoder on top.
  ModelConfig config;
  config.layers = 12;
  config.width = 768;
  config.vocabulary = 32768;
  config.feed_forward = {.kind = FeedForwardKind::kDense, .intermediate = 3072};
  const double layers = 12 * (4 * 768.0 * 768 + 2 * 768.0 * 3072), attention = 12 * 4 * 128.0 * 768;
  EXPECT_NEAR(TrainingFlopPerToken(config, 128, 0.25), 6 * layers + 3 * attention + 0.25 * 6 * 768.0 * 32768, 1);
  config.feed_forward = {.kind = FeedForwardKind::kNeuronTree, .trees = 1, .depth = 11};
  EXPECT_NEAR(TrainingFlopPerToken(config, 128, 0), 6 * 12 * (4 * 768.0 * 768 + 2 * 768.0 * 12) + 3 * attention, 1);
}

}  // namespace
}  // namespace grove::train
