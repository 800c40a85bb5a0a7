// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/evaluate.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "grove/train/finetune.h"
#include "grove/train/tiny_task_for_test.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;

class EvaluateTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(test::WriteTinyModel(Path("pretrained"))); }

  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  void Write(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    ASSERT_TRUE(WriteTextFile(Path(name), text).ok());
  }
  // Fine-tunes for a task of the folder glue/ and returns the model's score.
  double Finetune(const std::string& task, const std::string& output) const {
    FinetuneOptions options = test::TinyOptions(Path("pretrained"), Path(output));
    options.task = task;
    options.data = Path("glue");
    options.epochs = 5;
    const auto card = train::Finetune(options, {});
    EXPECT_TRUE(card.ok()) << card.error().message();
    return card.ok() ? nlohmann::json::parse(card.value())["score"].get<double>() : 0;
  }

  grove::test::TemporaryFolder folder_;
};

TEST_F(EvaluateTest, ScoresAndAnswersTasks) {
  Write("glue/SST-2/train.tsv", test::OpinionRows(400, 1));
  Write("glue/SST-2/dev.tsv", test::OpinionRows(50, 2));
  Write("glue/SST-2/test.tsv", "index\tsentence\n0\tthe film was good\n7\tthe film was bad\n");
  Write("glue/CoLA/train.tsv", test::OpinionRows(200, 3));
  Write("glue/CoLA/dev.tsv", test::OpinionRows(50, 4));
  std::string pairs = "sentence1\tsentence2\tlabel\n";
  for (int i = 0; i < 20; ++i) pairs += "the film\twas " + std::string(i % 2 ? "good\t4.5\n" : "bad\t0.5\n");
  Write("glue/STS-B/train.tsv", pairs);
  Write("glue/STS-B/dev.tsv", pairs);
  const double sst = Finetune("sst2", "runs/SST-2"), cola = Finetune("CoLA", "runs/CoLA");
  const double sts = Finetune("STS-B", "runs/STS-B");
  std::string notices;
  const EvaluateContext context{.threads = 2, .notice = [&](const std::string& text) { notices += text + "\n"; }};
  EvaluateOptions options;
  options.device = "cpu";
  options.predictions = Path("answers");
  const auto evaluation = Evaluate({Path("runs")}, options, context);
  ASSERT_TRUE(evaluation.ok()) << evaluation.error().message();
  const auto& models = evaluation.value().models;
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models[1].task, "SST-2");
  EXPECT_NEAR(models[0].scores.score, cola, 1e-9);
  EXPECT_NEAR(models[1].scores.score, sst, 1e-9);
  EXPECT_NEAR(models[2].scores.score, sts, 1e-6);
  EXPECT_NEAR(*evaluation.value().average.without_cola, (sst + sts) / 2, 1e-6);
  EXPECT_NEAR(*evaluation.value().average.with_cola, (sst + cola + sts) / 3, 1e-6);
  const std::string answers = ReadTextFile(Path("answers/SST-2.tsv")).value();
  EXPECT_EQ(answers, "index\tprediction\n0\t1\n7\t0\n");
  EXPECT_EQ(ReadTextFile(Path("answers/CoLA.tsv")).value().substr(0, 17), "index\tprediction\n");
  EXPECT_NE(notices.find("has no test.tsv, so CoLA.tsv answers"), std::string::npos) << notices;
  EXPECT_NE(notices.find("872"), std::string::npos) << notices;  // a dev file that is not the official one
  const auto json = EvaluationJson(evaluation.value());
  EXPECT_EQ(json["models"].size(), 3u);
  EXPECT_EQ(json["missing"].size(), 5u);
}

TEST_F(EvaluateTest, RefusesWhatIsNoTaskModel) {
  EvaluateOptions options;
  options.device = "cpu";
  const auto told = [&](const std::vector<std::string>& models) {
    const auto evaluation = Evaluate(models, options, {});
    EXPECT_FALSE(evaluation.ok());
    return evaluation.ok() ? "" : evaluation.error().message();
  };
  EXPECT_NE(told({Path("pretrained")}).find("finetune"), std::string::npos) << told({Path("pretrained")});
  EXPECT_NE(told({Path("nowhere")}).find("nowhere"), std::string::npos);
  fs::create_directories(Path("empty"));
  EXPECT_NE(told({Path("empty")}).find("holds none"), std::string::npos);
  Write("glue/SST-2/train.tsv", test::OpinionRows(20, 1));
  Write("glue/SST-2/dev.tsv", test::OpinionRows(20, 2));
  Finetune("SST-2", "model");
  fs::copy(Path("model"), Path("copy"));
  options.predictions = Path("answers");
  EXPECT_NE(told({Path("model"), Path("copy")}).find("answers of another"), std::string::npos);
  options.predictions.clear();
  fs::create_directories(Path("both"));
  fs::rename(Path("copy"), Path("both/model"));
  fs::copy(Path("pretrained"), Path("both/pretrained"));
  const auto fine_tuned = Evaluate({Path("both")}, options, {});
  ASSERT_TRUE(fine_tuned.ok()) << fine_tuned.error().message();
  EXPECT_EQ(fine_tuned.value().models.size(), 1u);
  options.task = "MNLI";
  EXPECT_NE(told({Path("model")}).find("2 labels and MNLI"), std::string::npos) << told({Path("model")});
  options.task.clear();
  fs::remove(Path("model/training.json"));
  EXPECT_NE(told({Path("model")}).find("--glue"), std::string::npos) << told({Path("model")});
}

// Files as they are in ../shared/data: all of GLUE's tasks that have a training file there, two steps each.
TEST_F(EvaluateTest, RealGlueFiles) {
  const std::string glue = GROVE_SOURCE_DIR "/../shared/data/glue";
  if (!fs::exists(glue)) GTEST_SKIP() << "no data at " << glue;
  int scored = 0;
  for (const GlueTask& task : GlueTasks()) {
    FinetuneOptions options = test::TinyOptions(Path("pretrained"), Path("real/" + task.name));
    options.task = task.name;
    options.data = glue;
    options.max_examples = 32;
    options.epochs = 1;
    const auto card = train::Finetune(options, {.threads = 2});
    if (task.name == "QNLI" || task.name == "MNLI") {
      ASSERT_FALSE(card.ok());
      EXPECT_NE(card.error().message().find("put the official file"), std::string::npos) << card.error().message();
      continue;
    }
    ASSERT_TRUE(card.ok()) << card.error().message();
    ++scored;
  }
  EXPECT_EQ(scored, 7);
  EvaluateOptions options;
  options.device = "cpu";
  options.glue = glue;
  const auto evaluation = Evaluate({Path("real")}, options, {.threads = 2});
  ASSERT_TRUE(evaluation.ok()) << evaluation.error().message();
  EXPECT_EQ(evaluation.value().models.size(), 7u);
  EXPECT_EQ(evaluation.value().average.missing, (std::vector<std::string>{"MNLI", "QNLI"}));
}

}  // namespace
}  // namespace grove::train
