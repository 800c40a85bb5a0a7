// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/labelled_text.h"

#include <gtest/gtest.h>

#include "grove/io/files.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

class LabelledTextTest : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = folder_.path() + "/" + name;
    EXPECT_TRUE(WriteTextFile(path, text).ok());
    return path;
  }
  LabelledText Read(const std::string& name, const std::string& text, TaskKind kind = TaskKind::kClassification,
                    const TextColumns& columns = {}) const {
    auto result = ReadLabelledText(Write(name, text), kind, columns);
    EXPECT_TRUE(result.ok()) << result.error().message();
    return result.ok() ? std::move(result).value() : LabelledText{};
  }
  // The error's sentence.
  std::string Refused(const std::string& name, const std::string& text, TaskKind kind = TaskKind::kClassification,
                      const TextColumns& columns = {}) const {
    const auto result = ReadLabelledText(Write(name, text), kind, columns);
    EXPECT_FALSE(result.ok()) << text;
    return result.ok() ? "" : result.error().message();
  }
  static bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

  test::TemporaryFolder folder_;
};

TEST_F(LabelledTextTest, TsvIsReadByColumnNames) {
  const LabelledText text = Read("a.tsv", "\xef\xbb\xbflabel\tid\tsentence\r\n1\t7\t \"quoted \r\n\r\n0\t8\tb\n");
  ASSERT_EQ(text.rows.size(), 2u);
  EXPECT_TRUE(text.labelled);
  EXPECT_FALSE(text.pairs);
  EXPECT_EQ(text.rows[0].text, "\"quoted");
  EXPECT_EQ(text.rows[0].label, "1");
  EXPECT_EQ(text.rows[1].text, "b");
  EXPECT_EQ(text.rows[1].line, 4u);
  EXPECT_EQ(text.rows[1].index, "1");
}

TEST_F(LabelledTextTest, PairsUnlabelledTextAndOwnNames) {
  TextColumns columns{.text = {"q"}, .pair = {"a"}, .label = {"ok"}, .pair_required = true, .label_required = false};
  const LabelledText text = Read("a.tsv", "index\tq\ta\n5\twho?\tme\n", TaskKind::kClassification, columns);
  EXPECT_TRUE(text.pairs);
  EXPECT_FALSE(text.labelled);
  EXPECT_EQ(text.rows[0].pair, "me");
  EXPECT_EQ(text.rows[0].index, "5");
}

TEST_F(LabelledTextTest, AFileWithoutHeader) {
  TextColumns columns{.without_header = {"source", "label", "mark", "sentence"}};
  const LabelledText text = Read("a.tsv", "gj04\t1\t\tOne.\ngj04\t0\t*\tTwo.\n", TaskKind::kClassification, columns);
  ASSERT_EQ(text.rows.size(), 2u);
  EXPECT_EQ(text.rows[0].text, "One.");
  EXPECT_EQ(text.rows[1].label, "0");
}

TEST_F(LabelledTextTest, BrokenTsvIsOneSentence) {
  EXPECT_TRUE(Has(Refused("a.tsv", ""), "is empty"));
  EXPECT_TRUE(Has(Refused("a.tsv", "sentence\tlabel\n"), "holds no rows"));
  EXPECT_TRUE(Has(Refused("a.tsv", "sentence\ttarget\na\t1\n"), "its columns are: sentence, target"));
  EXPECT_TRUE(Has(Refused("a.tsv", "sentence\ttarget\na\t1\n"), "--label-column"));
  EXPECT_TRUE(Has(Refused("a.tsv", "phrase\tlabel\na\t1\n"), "--text-column"));
  EXPECT_TRUE(Has(Refused("a.tsv", "sentence\tlabel\na\t1\nb\n"), "a.tsv:3: the row has 1 fields and needs 2"));
  EXPECT_TRUE(Has(Refused("a.tsv", "sentence\tlabel\na\t\n"), "a.tsv:2: the column \"label\" is empty"));
  const LabelledText kept = Read("a.tsv", "sentence\tlabel\na\t1\nb\nc\t0\n", TaskKind::kClassification,
                                 TextColumns{.skip_broken_rows = true});
  EXPECT_EQ(kept.rows.size(), 2u);
  EXPECT_EQ(kept.skipped, 1u);
  EXPECT_FALSE(ReadLabelledText(folder_.path() + "/none.tsv", TaskKind::kClassification, {}).ok());
}

TEST_F(LabelledTextTest, Jsonl) {
  const LabelledText text = Read("a.jsonl",
                                 "{\"text1\": \"a\\tb\", \"text2\": \"\", \"label\": 2.5}\n\n"
                                 "{\"label\": \"yes\", \"text1\": \"c\", \"text2\": \"d\"}\n");
  ASSERT_EQ(text.rows.size(), 2u);
  EXPECT_TRUE(text.pairs);
  EXPECT_EQ(text.rows[0].text, "a\tb");
  EXPECT_EQ(text.rows[0].label, "2.5");
  EXPECT_EQ(text.rows[1].label, "yes");
  EXPECT_TRUE(Has(Refused("a.jsonl", "{\"text\": \"a\", \"label\": 1}\n{\"text\": 3, \"label\": 1}\n"),
                  "a.jsonl:2: \"text\" must be a string"));
  EXPECT_TRUE(Has(Refused("a.jsonl", "[1]\n"), "a.jsonl:1: a line must be one JSON object"));
  EXPECT_TRUE(Has(Refused("a.jsonl", "{\"text\": \"a\", \"label\": null}\n"), "must be a string or a number"));
  EXPECT_TRUE(Has(Refused("a.jsonl", "{\"text\": \"a\"}\n"), "no column \"label\""));
  EXPECT_TRUE(Has(Refused("a.jsonl", "{\"text\""), "a.jsonl:1"));
  EXPECT_TRUE(Has(Refused("a.jsonl", "\n"), "holds no rows"));
}

TEST_F(LabelledTextTest, WordsOfJsonlAndConll) {
  const LabelledText json = Read(
      "a.jsonl",
      "{\"tokens\": [\"Ann\", \"left\"], \"labels\": [\"B-PER\", \"O\"]}\n{\"tokens\": [\"x\"], \"labels\": [3]}\n",
      TaskKind::kTokens);
  const LabelledText conll =
      Read("a.tsv", "-DOCSTART- -X- O O\n\nAnn NNP B-PER\nleft VBD O\n\n\nx\t3\n", TaskKind::kTokens);
  for (const LabelledText& text : {json, conll}) {
    ASSERT_EQ(text.rows.size(), 2u);
    EXPECT_EQ(text.rows[0].words, (std::vector<std::string>{"Ann", "left"}));
    EXPECT_EQ(text.rows[0].word_labels, (std::vector<std::string>{"B-PER", "O"}));
    EXPECT_EQ(text.rows[1].word_labels, std::vector<std::string>{"3"});
  }
  EXPECT_EQ(conll.rows[0].line, 3u);
  const auto tokens = TaskKind::kTokens;
  EXPECT_TRUE(Has(Refused("a.jsonl", "{\"tokens\": [\"a\", \"b\"], \"labels\": [\"O\"]}\n", tokens),
                  "a.jsonl:1: 2 words have 1 labels"));
  EXPECT_TRUE(Has(Refused("a.jsonl", "{\"tokens\": \"a b\", \"labels\": [\"O\"]}\n", tokens), "a list of strings"));
  EXPECT_TRUE(Has(Refused("a.tsv", "word\n", tokens), "a.tsv:1: a line must be a word, a tab and its label"));
}

}  // namespace
}  // namespace grove::train
