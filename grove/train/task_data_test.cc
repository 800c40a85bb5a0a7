// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/task_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "grove/train/finetune_run.h"

namespace grove::train {
namespace {

Tokenizer MakeTokenizer() {
  auto tokenizer = Tokenizer::FromVocabulary(
      {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##c", "##d"}, {}, "vocabulary");
  EXPECT_TRUE(tokenizer.ok());
  return std::move(tokenizer).value();
}

class TaskDataTest : public testing::Test {
 protected:
  static LabelledText Rows(std::vector<LabelledRow> rows, bool pairs = false, bool labelled = true) {
    for (size_t i = 0; i < rows.size(); ++i) rows[i].line = i + 2;
    return {"rows.tsv", pairs, labelled, std::move(rows), 0};
  }
  Result<TaskData> Encode(const LabelledText& text, const LabelSet& labels, int64_t length = 16) {
    return EncodeTask(text, labels, tokenizer_, length, pool_);
  }

  Tokenizer tokenizer_ = MakeTokenizer();
  ThreadPool pool_{2};
};

TEST_F(TaskDataTest, LabelsAreSortedAndJudged) {
  const auto names = [](std::vector<std::string> labels) {
    std::vector<LabelledRow> rows;
    for (const std::string& label : labels) rows.push_back({.label = label});
    return LabelsOf(Rows(rows), TaskKind::kClassification);
  };
  EXPECT_EQ(names({"b", "a", "b"}).value().names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(names({"10", "9", "-1"}).value().names, (std::vector<std::string>{"-1", "9", "10"}));
  EXPECT_NE(names({"a", "a"}).error().message().find("only the label \"a\""), std::string::npos);
  EXPECT_NE(names({"1.5", "2", "0.1"}).error().message().find("--kind regression"), std::string::npos);
}

TEST_F(TaskDataTest, PairsAreEncodedAndCut) {
  const LabelledText text =
      Rows({{.text = "a b", .pair = "c", .label = "no"}, {.text = "a a a a a a", .pair = "b b", .label = "1"}},
           /*pairs=*/true);
  const auto data = Encode(text, {TaskKind::kClassification, {"no", "yes"}, true}, 8);
  ASSERT_TRUE(data.ok()) << data.error().message();
  EXPECT_EQ(data.value().examples[0].ids, (std::vector<int32_t>{2, 5, 6, 3, 7, 3}));
  EXPECT_EQ(data.value().examples[0].type_ids, (std::vector<int32_t>{0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(data.value().examples[1].ids, (std::vector<int32_t>{2, 5, 5, 5, 3, 6, 6, 3}));  // the longer gives first
  EXPECT_EQ(data.value().examples[1].classes, std::vector<int64_t>{1});
  EXPECT_EQ(data.value().cut, 1);
  const TaskBatch batch = MakeTaskBatch(data.value(), std::vector<size_t>{0, 1}, 0);
  EXPECT_EQ(batch.input.ids.sizes(), (std::vector<int64_t>{2, 8}));
  EXPECT_EQ(batch.input.attention_mask.sum().item<int64_t>(), 14);
  EXPECT_TRUE(batch.input.token_types.defined());
  EXPECT_FALSE(MakeTaskBatch(data.value(), std::vector<size_t>{1}, 0).input.attention_mask.defined());
}

TEST_F(TaskDataTest, WordsAreLabelledOnTheirFirstPiece) {
  const LabelledText text = Rows({{.words = {"acd", "b", "x"}, .word_labels = {"O", "N", "O"}},
                                  {.words = {"a", "bcc", "b", "b"}, .word_labels = {"O", "O", "N", "O"}}});
  const LabelSet labels{TaskKind::kTokens, {"N", "O"}, false};
  const auto whole = Encode(text, labels);
  ASSERT_TRUE(whole.ok()) << whole.error().message();
  EXPECT_EQ(whole.value().examples[0].ids, (std::vector<int32_t>{2, 5, 8, 9, 6, 1, 3}));
  EXPECT_EQ(whole.value().examples[0].positions, (std::vector<int64_t>{1, 4, 5}));
  EXPECT_EQ(whole.value().examples[0].classes, (std::vector<int64_t>{1, 0, 1}));
  const TaskBatch batch = MakeTaskBatch(whole.value(), std::vector<size_t>{0, 1}, 0);
  EXPECT_EQ(batch.positions.size(0), 7);
  EXPECT_EQ(batch.positions[3].item<int64_t>(), batch.input.ids.size(1) + 1);
  const auto cut = Encode(text, labels, 5);  // [CLS], three pieces, [SEP]
  ASSERT_TRUE(cut.ok());
  EXPECT_EQ(cut.value().examples[0].positions, std::vector<int64_t>{1});
  EXPECT_EQ(cut.value().examples[0].classes.size(), 1u);
  EXPECT_EQ(cut.value().examples[0].ids.size(), 5u);
  EXPECT_EQ(cut.value().words_lost, 2 + 2);
  EXPECT_EQ(cut.value().cut, 2);
}

TEST_F(TaskDataTest, BadRowsAreNamed) {
  const auto told = [&](const LabelledText& text, const LabelSet& labels) {
    const auto data = Encode(text, labels);
    EXPECT_FALSE(data.ok());
    return data.ok() ? "" : data.error().message();
  };
  const LabelSet two{TaskKind::kClassification, {"no", "yes"}, false};
  const std::string unknown = told(Rows({{.text = "a", .label = "no"}, {.text = "a", .label = "1"}}), two);
  EXPECT_NE(unknown.find("rows.tsv:3: the label \"1\""), std::string::npos) << unknown;
  EXPECT_NE(unknown.find("no, yes"), std::string::npos) << unknown;
  const std::string value = told(Rows({{.text = "a", .label = "high"}}), {TaskKind::kRegression, {}, false});
  EXPECT_NE(value.find("is no number"), std::string::npos) << value;
  const std::string utf8 = told(Rows({{.text = "\xff", .label = "no"}}), two);
  EXPECT_NE(utf8.find("rows.tsv:2"), std::string::npos) << utf8;
}

TEST_F(TaskDataTest, AnEpochHasEveryRowOnceInAnOrderOfTheSeed) {
  std::vector<LabelledRow> rows;
  for (int i = 0; i < 1003; ++i) rows.push_back({.text = i % 3 == 0 ? "a" : "a b c a b c", .label = i % 2 ? "x" : "y"});
  const auto data = Encode(Rows(rows), {TaskKind::kClassification, {"x", "y"}, false});
  ASSERT_TRUE(data.ok());
  const auto batches = EpochBatches(data.value(), 4, 1, 0);
  EXPECT_EQ(batches.size(), 251u);
  std::set<size_t> seen;
  for (const auto& batch : batches) seen.insert(batch.begin(), batch.end());
  EXPECT_EQ(seen.size(), 1003u);
  EXPECT_EQ(batches, EpochBatches(data.value(), 4, 1, 0));
  EXPECT_NE(batches, EpochBatches(data.value(), 4, 1, 1));
  EXPECT_NE(batches, EpochBatches(data.value(), 4, 2, 0));
  // Nearly every batch is of one length, and short batches are spread over the epoch.
  const auto padded = std::count_if(batches.begin(), batches.end(), [&](const auto& batch) {
    return MakeTaskBatch(data.value(), batch, 0).input.attention_mask.defined();
  });
  EXPECT_LE(padded, 8);
  const auto is_short = [&](const auto& batch) { return data.value().examples[batch[0]].ids.size() == 3; };
  const auto middle = batches.begin() + 125;
  EXPECT_GT(std::count_if(batches.begin(), middle, is_short), 25);
  EXPECT_GT(std::count_if(middle, batches.end(), is_short), 25);
}

TEST(FinetuneRateFactor, RisesThenFallsAlongACosine) {
  EXPECT_GT(FinetuneRateFactor(0, 100, 0.1), 0);
  EXPECT_LT(FinetuneRateFactor(3, 100, 0.1), FinetuneRateFactor(4, 100, 0.1));
  EXPECT_NEAR(FinetuneRateFactor(10, 100, 0.1), 1, 1e-12);
  EXPECT_NEAR(FinetuneRateFactor(55, 100, 0.1), 0.5, 1e-12);
  EXPECT_NEAR(FinetuneRateFactor(100, 100, 0.1), 0, 1e-12);
  EXPECT_EQ(FinetuneRateFactor(0, 1, 0), 1);
}

}  // namespace
}  // namespace grove::train
