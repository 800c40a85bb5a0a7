// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Whole fine-tunings at a tiny size: tasks are learnt, repeat to the bit, keep the median, and refuse what is wrong.
#include "grove/train/finetune.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "grove/io/model_directory.h"
#include "grove/train/tiny_task_for_test.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class FinetuneTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(test::WriteTinyModel(model_)); }

  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  void Write(const std::string& name, const std::string& text) const {
    ASSERT_TRUE(WriteTextFile(Path(name), text).ok());
  }
  // Options to learn from train and dev as they were written.
  FinetuneOptions Options(const std::string& output, const std::string& extension = ".tsv") const {
    FinetuneOptions options = test::TinyOptions(model_, Path(output));
    options.train = Path("train" + extension);
    options.dev = Path("dev" + extension);
    return options;
  }
  Json Run(const FinetuneOptions& options, size_t threads = 2) const {
    const auto card = Finetune(options, {.threads = threads});
    EXPECT_TRUE(card.ok()) << card.error().message();
    return card.ok() ? Json::parse(card.value()) : Json();
  }
  void ExpectRefused(const FinetuneOptions& options, const std::string& word) const {
    const auto card = Finetune(options, {});
    ASSERT_FALSE(card.ok()) << word;
    EXPECT_NE(card.error().message().find(word), std::string::npos) << card.error().message();
    EXPECT_FALSE(fs::exists(options.output + "/config.json"));
  }

  grove::test::TemporaryFolder folder_;
  const std::string model_ = folder_.path() + "/pretrained";
};

TEST_F(FinetuneTest, LearnsAClassAndLeavesAModelWithItsCard) {
  Write("train.tsv", test::OpinionRows(400, 1, "poor", "fine"));
  Write("dev.tsv", test::OpinionRows(100, 2, "poor", "fine"));
  const Json card = Run(Options("out"));
  EXPECT_GT(card["score"], 0.9);
  EXPECT_EQ(card["metrics"]["accuracy"], card["score"]);
  EXPECT_EQ(card["train"]["rows"], 400);
  EXPECT_EQ(Json::parse(ReadTextFile(Path("out/training.json")).value()), card);
  const auto directory = ModelDirectory::Open(Path("out"));
  ASSERT_TRUE(directory.ok()) << directory.error().message();
  EXPECT_EQ(directory.value().config.head.label_names, (std::vector<std::string>{"fine", "poor"}));
  EXPECT_EQ(directory.value().config.head.labels, 2);
  EXPECT_TRUE(directory.value().tokenizer_path.ends_with("tokenizer.json"));
  EXPECT_FALSE(fs::exists(Path("out/runs")));
  int epochs = 0;
  std::istringstream log(ReadTextFile(Path("out/log.jsonl")).value());
  for (std::string line; std::getline(log, line);) epochs += Json::parse(line)["event"] == "epoch" ? 1 : 0;
  EXPECT_EQ(epochs, 6);
}

TEST_F(FinetuneTest, LearnsAValue) {
  KeyedRandom random(3);
  for (const char* name : {"train.jsonl", "dev.jsonl"}) {
    std::string text;
    for (int i = 0; i < 300; ++i) {
      std::vector<std::string> words = test::SomeWords(random, 6);
      const size_t good = random.Below(6);
      std::fill_n(words.begin(), good, "good");
      text += Json{{"sentence", test::Joined(words)}, {"score", 0.5 * static_cast<double>(good)}}.dump() + "\n";
    }
    Write(name, text);
  }
  FinetuneOptions options = Options("out", ".jsonl");
  options.kind = "regression";
  const Json card = Run(options);
  EXPECT_GT(card["metrics"]["pearson"], 0.9);
  EXPECT_GT(card["metrics"]["spearman"], 0.9);
  EXPECT_TRUE(ModelDirectory::Open(Path("out")).value().config.head.regression);
}

TEST_F(FinetuneTest, LearnsLabelsOfWords) {
  KeyedRandom random(4);
  for (const char* name : {"train.tsv", "dev.tsv"}) {
    std::string text;
    for (int i = 0; i < 200; ++i) {
      for (const std::string& word : test::SomeWords(random, 2 + random.Below(4))) text += word + "\tO\n";
      text += random.Below(2) == 0 ? "ann\tB-PER\nbob\tI-PER\n" : "rome\tB-LOC\n";
      text += "again\tO\n\n";
    }
    Write(name, text);
  }
  FinetuneOptions options = Options("out");
  options.kind = "tokens";
  const Json card = Run(options);
  EXPECT_GT(card["metrics"]["entity_f1"], 0.9);
  EXPECT_EQ(card["score"], card["metrics"]["entity_f1"]);
  EXPECT_EQ(ModelDirectory::Open(Path("out")).value().config.head.kind, HeadKind::kTokenClassification);
}

TEST_F(FinetuneTest, TheSameSeedGivesTheSameModelAndAnotherAnother) {
  Write("train.tsv", test::OpinionRows(60, 1));
  Write("dev.tsv", test::OpinionRows(20, 2));
  std::vector<std::string> weights;
  for (const char* output : {"one", "two", "three"}) {
    FinetuneOptions options = Options(output);
    options.epochs = 2;
    if (weights.size() == 2) options.seed = 2;
    Run(options, 3);
    weights.push_back(ReadTextFile(Path(output) + "/model.safetensors").value());
  }
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_NE(weights[0], weights[2]);
}

TEST_F(FinetuneTest, TheModelOfTheMedianSeedIsKept) {
  Write("train.tsv", test::OpinionRows(40, 1));
  Write("dev.tsv", test::OpinionRows(60, 2));
  FinetuneOptions options = Options("out");
  options.epochs = 3;
  options.learning_rate = 1e-3;
  options.seeds = 3;
  const Json card = Run(options);
  auto scores = card["scores"].get<std::vector<double>>();
  const auto seeds = card["seeds"].get<std::vector<int64_t>>();
  EXPECT_EQ(seeds, (std::vector<int64_t>{1, 2, 3}));
  const auto saved = std::find(seeds.begin(), seeds.end(), card["saved_seed"].get<int64_t>());
  EXPECT_EQ(scores[static_cast<size_t>(saved - seeds.begin())], card["saved_score"]);
  std::sort(scores.begin(), scores.end());
  EXPECT_EQ(card["saved_score"], scores[1]);
  EXPECT_EQ(card["score"], scores[1]);
  // The same seed alone gives the very model that was kept.
  options.output = Path("alone");
  options.seeds = 1;
  options.seed = card["saved_seed"];
  Run(options);
  EXPECT_EQ(ReadTextFile(Path("out/model.safetensors")).value(), ReadTextFile(Path("alone/model.safetensors")).value());
}

// Pairs, whose second texts have a type of their own, for the families of Transformers.
TEST_F(FinetuneTest, BertAndDistilBertLearnToo) {
  for (const char* name : {"train.tsv", "dev.tsv"}) {
    KeyedRandom random(name[0]);
    std::string text = "sentence1\tsentence2\tlabel\n";
    for (int i = 0; i < 200; ++i) {
      std::vector<std::string> second = test::SomeWords(random, 2 + random.Below(4));
      const bool good = random.Below(2) == 1;
      second[random.Below(second.size())] = good ? "good" : "bad";
      text += test::Joined(test::SomeWords(random, 3)) + "\t" + test::Joined(second) + (good ? "\tyes\n" : "\tno\n");
    }
    Write(name, text);
  }
  for (const ModelFamily family : {ModelFamily::kBert, ModelFamily::kDistilBert}) {
    ModelConfig config = test::TinyConfig();
    config.family = family;
    config.token_types = family == ModelFamily::kBert ? 2 : 0;
    config.feed_forward = {.kind = FeedForwardKind::kDense, .intermediate = 32};
    const std::string name(ModelFamilyName(family));
    ASSERT_NO_FATAL_FAILURE(test::WriteTinyModel(Path(name), config));
    FinetuneOptions options = Options(name + "-out");
    options.model = Path(name);
    const Json card = Run(options);
    EXPECT_GT(card["score"], 0.9) << name;
    const auto directory = ModelDirectory::Open(options.output);
    ASSERT_TRUE(directory.ok()) << directory.error().message();
    EXPECT_EQ(directory.value().config.head.label_names, (std::vector<std::string>{"no", "yes"}));
  }
}

TEST_F(FinetuneTest, AFineTunedModelCanBeFineTunedAgain) {
  Write("train.tsv", test::OpinionRows(40, 1));
  Write("dev.tsv", test::OpinionRows(20, 2));
  FinetuneOptions options = Options("one");
  options.epochs = 1;
  Run(options);
  options.model = Path("one");
  options.output = Path("two");
  const Json card = Run(options);
  EXPECT_EQ(card["pretrained"]["task"], "train.tsv");
}

TEST_F(FinetuneTest, WrongInputIsRefusedBeforeAnyWork) {
  Write("train.tsv", test::OpinionRows(10, 1));
  Write("dev.tsv", test::OpinionRows(10, 2));
  FinetuneOptions options = Options("out");
  options.label_column = "target";
  ExpectRefused(options, "no column \"target\"");
  options = Options("out");
  options.text_column = "label";
  options.pair_column = "sentence3";
  ExpectRefused(options, "no column \"sentence3\"");
  options = Options("out");
  options.model = Path("nowhere");
  ExpectRefused(options, "nowhere");
  options = Options("out");
  options.task = "SST-3";
  ExpectRefused(options, "one of CoLA, SST-2");
  options.task = "QNLI";
  options.data = model_;  // a folder without .tsv files
  options.train.clear();
  ExpectRefused(options, "104743");
  options = Options("out");
  options.dev.clear();
  ExpectRefused(options, "--dev");
  options = Options("out");
  options.output = options.model;
  const auto own = Finetune(options, {.overwrite = true});
  ASSERT_FALSE(own.ok());
  EXPECT_NE(own.error().message().find("choose another"), std::string::npos) << own.error().message();
  EXPECT_TRUE(fs::exists(model_ + "/config.json"));
  Write("dev.tsv", test::OpinionRows(10, 2, "0", "2"));
  ExpectRefused(Options("out"), "the label \"2\" is none of the task's labels, which are: 0, 1");
  Write("dev.tsv", "sentence1\tsentence2\tlabel\na\tb\t1\n");
  ExpectRefused(Options("out"), "pairs of texts");
  Write("dev.tsv", "");
  ExpectRefused(Options("out"), "is empty");
  fs::remove(model_ + "/vocab.txt");
  Write("dev.tsv", test::OpinionRows(10, 2));
  ExpectRefused(Options("out"), "neither tokenizer.json nor vocab.txt");
}

TEST_F(FinetuneTest, AModelIsNotReplacedUnasked) {
  Write("train.tsv", test::OpinionRows(10, 1));
  Write("dev.tsv", test::OpinionRows(10, 2));
  FinetuneOptions options = Options("out");
  options.epochs = 1;
  Run(options);
  const auto again = Finetune(options, {});
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.error().message().find("--overwrite"), std::string::npos) << again.error().message();
  EXPECT_TRUE(Finetune(options, {.overwrite = true}).ok());
}

TEST_F(FinetuneTest, ALossThatIsNoNumberEndsTheRun) {
  Write("train.tsv", test::OpinionRows(50, 1));
  Write("dev.tsv", test::OpinionRows(10, 2));
  FinetuneOptions options = Options("out");
  options.learning_rate = 10;
  options.weight_decay = 10;
  options.beta1 = 1;  // no gradient enters, and the bias correction divides by 0
  ExpectRefused(options, "--learning-rate");
}

}  // namespace
}  // namespace grove::train
