// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/distil.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "grove/io/files.h"
#include "grove/nn/parameters.h"
#include "grove/train/compare_models.h"
#include "grove/train/distillation.h"
#include "grove/train/inherited_weights.h"
#include "grove/train/opened_model.h"
#include "grove/train/packed_text_for_test.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

using Json = nlohmann::json;

class DistilTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(WritePackedText(Path("data"))); }
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }

  DistilOptions Options(const std::string& output) const {
    DistilOptions options;
    options.data = Path("data");
    options.output = Path(output);
    options.teacher = Path("teacher");
    options.layers = 1;
    options.width = 16;
    options.heads = 2;
    options.length = 16;
    options.depth = 2;
    options.leaf_width = 8;
    options.batch = 16;
    options.learning_rate = 1e-2;
    options.steps = 150;
    options.validate_every = 0;
    options.validation_sequences = 32;
    options.device = "cpu";
    return options;
  }
  void TrainTeacher(int64_t steps) const {
    DistilOptions options = Options("teacher");
    options.layers = 2;
    options.width = 32;
    options.feed_forward = "dense";
    options.intermediate = 64;
    options.steps = steps;
    const auto summary = Pretrain(options, {});
    ASSERT_TRUE(summary.ok()) << summary.error().message();
  }
  // The card's "teacher": how close the student came.
  static Json Closeness(const DistilOptions& options) {
    const auto summary = Distil(options, {.overwrite = true});
    EXPECT_TRUE(summary.ok()) << summary.error().message();
    return summary.ok() ? Json::parse(summary.value().card)["teacher"] : Json();
  }

  test::TemporaryFolder folder_;
};

TEST_F(DistilTest, AStudentOfATeacherComesCloserThanOneOfTheTextAlone) {
  ASSERT_NO_FATAL_FAILURE(TrainTeacher(300));
  DistilOptions options = Options("student");
  options.layers = 2;
  options.width = 32;
  options.positions = "learned";
  options.init_std = 0.1;
  options.steps = 200;
  const Json taught = Closeness(options);
  options.logits_weight = options.hidden_weight = 0;  // the words alone
  const Json untaught = Closeness(options);
  EXPECT_LT(taught["kl"], 0.7 * untaught["kl"].get<double>()) << taught << untaught;
  EXPECT_GE(taught["agreement"], untaught["agreement"]) << taught << untaught;
  const auto log = ReadTextFile(options.output + "/log.jsonl");
  ASSERT_TRUE(log.ok());
  EXPECT_NE(log.value().find("\"masked_lm\":"), std::string::npos);
  EXPECT_EQ(log.value().find("\"hidden\":"), std::string::npos);
}

TEST_F(DistilTest, EveryLossFallsAndAStudentMayBeGiven) {
  ASSERT_NO_FATAL_FAILURE(TrainTeacher(50));
  DistilOptions options = Options("student");
  options.layer_weight = 1;
  options.hidden_loss = "mse";
  options.log_every = 1;
  const Json first = Closeness(options);
  std::istringstream text(ReadTextFile(options.output + "/log.jsonl").value());
  std::vector<Json> steps;
  for (std::string line; std::getline(text, line);) {
    if (Json json = Json::parse(line); json["event"] == "step") steps.push_back(std::move(json));
  }
  for (const char* term : {"masked_lm", "kl", "hidden", "layers"}) {
    EXPECT_LT(steps.back()[term], steps.front()[term]) << term;
  }
  options.student = options.output;
  for (const std::string& input : {options.student, options.teacher}) {
    options.output = input;
    const auto refused = Distil(options, {.overwrite = true});
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().message().find("choose another one"), std::string::npos) << refused.error().message();
    EXPECT_TRUE(std::filesystem::exists(input + "/model.safetensors"));
  }
  options.output = Path("second");
  options.learning_rate = 1e-3;
  const Json second = Closeness(options);
  EXPECT_LT(second["kl"], first["kl"]) << first << second;
}

TEST_F(DistilTest, StopsAndResumesAsPretrainingDoes) {
  ASSERT_NO_FATAL_FAILURE(TrainTeacher(20));
  DistilOptions options = Options("whole");
  options.steps = 40;
  ASSERT_TRUE(Distil(options, {}).ok());
  options.output = Path("stopped");
  int asked = 0;
  PretrainContext context;
  context.stop = [&asked] { return ++asked == 15; };
  const auto stopped = Distil(options, context);
  ASSERT_TRUE(stopped.ok()) << stopped.error().message();
  EXPECT_FALSE(stopped.value().finished);
  DistilOptions other = options;
  other.temperature = 3;
  const auto refused = Distil(other, {.resume = true});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("--temperature"), std::string::npos) << refused.error().message();
  ASSERT_TRUE(Distil(options, {.resume = true}).ok());
  EXPECT_EQ(ReadTextFile(Path("whole") + "/model.safetensors").value(),
            ReadTextFile(Path("stopped") + "/model.safetensors").value());
}

// One block of the teacher's width has the last block's attention, and with a dense layer of its size the whole block.
TEST_F(DistilTest, AStudentInheritsWhatFits) {
  ASSERT_NO_FATAL_FAILURE(TrainTeacher(100));
  const auto teacher = OpenTextModel(Path("teacher"), torch::kCPU);
  ASSERT_TRUE(teacher.ok());
  DistilOptions options = Options("student");
  options.width = 32;
  options.steps = 1;
  options.learning_rate = 0;
  options.weight_decay = 0;
  const Json fresh = Closeness(options);
  EXPECT_FALSE(fresh.contains("inherited"));
  options.inherit = true;
  const Json inherited = Closeness(options);
  EXPECT_LT(inherited["loss"], fresh["loss"].get<double>() - 0.1) << fresh << inherited;
  const auto student = OpenTextModel(options.output, torch::kCPU);
  ASSERT_TRUE(student.ok());
  const auto ours = student.value().model->named_parameters(), theirs = teacher.value().model->named_parameters();
  const auto* attention = ours.find("encoder.layers.0.attn.dense.weight");
  ASSERT_NE(attention, nullptr);
  EXPECT_TRUE(torch::equal(*attention, theirs["encoder.layers.1.attn.dense.weight"]));
  int64_t trees = 0, all = 0;
  for (const auto& item : ours) {
    all += item.value().numel();
    trees += item.key().find(".ffn.") == std::string::npos ? 0 : item.value().numel();
  }
  EXPECT_GT(trees, 0);
  EXPECT_EQ(inherited["inherited"], all - trees);
  options.layers = 2;
  options.feed_forward = "dense";
  options.intermediate = 64;
  const Json whole = Closeness(options);
  EXPECT_NEAR(whole["kl"].get<double>(), 0, 1e-6) << whole;
}

// A BERT with random weights, as teacher of a crammedBERT: other names, other norms, another width.
TEST_F(DistilTest, ABertTeaches) {
  ModelConfig bert;
  bert.family = ModelFamily::kBert;
  bert.vocabulary = 25;
  bert.width = 24;
  bert.layers = 3;
  bert.heads = 2;
  bert.max_length = 16;
  bert.token_types = 2;
  bert.position = PositionKind::kLearned;
  bert.final_norm = false;
  bert.init_std = 0.5;
  bert.feed_forward = {.intermediate = 48};
  bert.head.decoder_bias = true;
  torch::manual_seed(3);
  std::filesystem::create_directory(Path("teacher"));
  ASSERT_TRUE(nn::SaveModel(*nn::MakeTextModel(bert, {}), bert, Path("teacher"), {}).ok());
  DistilOptions options = Options("student");
  options.masked_lm_weight = 0;
  const Json taught = Closeness(options);
  options.steps = 1;
  options.learning_rate = 0;
  const Json untaught = Closeness(options);
  EXPECT_LT(taught["kl"], 0.5 * untaught["kl"].get<double>()) << taught << untaught;
}

TEST_F(DistilTest, ErrorsAreOneSentence) {
  ASSERT_NO_FATAL_FAILURE(TrainTeacher(1));
  const auto expect = [&](const std::function<void(DistilOptions&)>& change, const std::string& word) {
    DistilOptions options = Options("student");
    change(options);
    const auto result = Distil(options, {});
    ASSERT_FALSE(result.ok()) << word;
    EXPECT_NE(result.error().message().find(word), std::string::npos) << result.error().message();
    EXPECT_EQ(result.error().message().find('\n'), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(options.output));
  };
  expect([](DistilOptions& o) { o.teacher = ""; }, "--teacher");
  expect([](DistilOptions& o) { o.teacher = "/nowhere"; }, "/nowhere");
  expect([](DistilOptions& o) { o.student = "/nowhere"; }, "/nowhere");
  expect([](DistilOptions& o) { o.length = 17; }, "--length is 17");
  expect([](DistilOptions& o) { o.student = o.teacher, o.inherit = true; }, "--inherit is for a new model");
  expect([](DistilOptions& o) { o.width = 24, o.inherit = true; },
         "of width 32 and the student crammedBERT of width 24");
  expect([](DistilOptions& o) { o.masked_lm_weight = o.logits_weight = o.hidden_weight = 0; }, "every weight is 0");
  expect(
      [](DistilOptions& o) {
        o.feed_forward = "none";
        o.layer_weight = 1;
      },
      "--layer-weight");
  ASSERT_TRUE(WriteTextFile(Path("teacher") + "/tokenizer.json", "").ok());
  ASSERT_TRUE(std::filesystem::remove(Path("teacher") + "/tokenizer.json"));
  std::string words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (int i = 0; i < 20; ++i) words += "word" + std::to_string(i) + "\n";
  ASSERT_TRUE(WriteTextFile(Path("teacher") + "/vocab.txt", words).ok());
  expect([](DistilOptions&) {}, "word0");
}

TEST(Distillation, UniformMapOfBlocks) {
  EXPECT_EQ(TeacherBlock(0, 2, 4), 1);
  EXPECT_EQ(TeacherBlock(1, 2, 4), 3);
  EXPECT_EQ(TeacherBlock(0, 3, 3), 0);
  EXPECT_EQ(TeacherBlock(2, 3, 12), 11);
  EXPECT_EQ(TeacherBlock(0, 4, 2), 0);
  EXPECT_EQ(TeacherBlock(3, 4, 2), 1);
}

TEST(Distillation, KlIsThatOfTheDefinition) {
  const torch::Tensor p = torch::tensor({{0.5, 0.5}, {0.9, 0.1}}), q = torch::tensor({{0.25, 0.75}, {0.9, 0.1}});
  const double expected = 0.5 * (0.5 * std::log(2.0) + 0.5 * std::log(0.5 / 0.75));
  EXPECT_NEAR(KlDivergence(p.log(), q.log(), 1.0).item<double>(), expected, 1e-6);
  EXPECT_NEAR(KlDivergence((2 * p.log()), (2 * q.log()), 2.0).item<double>(), expected, 1e-6);
}

}  // namespace
}  // namespace grove::train
