// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/fill_mask.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "grove/io/files.h"
#include "grove/model/random_model.h"
#include "tests/temporary_folder.h"

namespace grove {
namespace {

class FillMaskTest : public testing::Test {
 protected:
  // A model of 40 words whose tokenizer knows 38.
  void SetUp() override {
    test::WriteModel(folder_.path(), test::SmallConfig(), test::MakeRandomTensors(test::SmallConfig(), 5));
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nsun\nrose\nover\nhills\n.\n";
    for (int i = 11; i < 38; ++i) vocabulary += "word" + std::to_string(i) + "\n";
    WriteVocabulary(vocabulary);
  }
  void WriteVocabulary(const std::string& text) {
    ASSERT_TRUE(WriteTextFile(folder_.path() + "/vocab.txt", text).ok());
  }
  LoadedModel Load() {
    Result<LoadedModel> model = LoadModel(folder_.path(), &pool_, {});
    EXPECT_TRUE(model.ok()) << (model.ok() ? "" : model.error().message());
    return std::move(model).value();
  }
  std::string Refusal(const std::vector<std::string>& texts, const FillMaskOptions& options = {}) {
    const auto filled = FillMasks(Load(), texts, options);
    return filled.ok() ? "" : filled.error().message();
  }

  test::TemporaryFolder folder_;
  ThreadPool pool_{2};
};

TEST_F(FillMaskTest, RanksWordsOfEveryMask) {
  const LoadedModel model = Load();
  const std::vector<std::string> texts = {"the [MASK] rose over the [MASK].", "[MASK]"};
  const std::vector<FilledText> filled = FillMasks(model, texts, {.top = 100}).value();
  ASSERT_EQ(filled.size(), 2u);
  ASSERT_EQ(filled[0].masks.size(), 2u);
  ASSERT_EQ(filled[1].masks.size(), 1u);
  EXPECT_EQ(filled[0].masks[0].offset.begin, 4u);
  EXPECT_EQ(filled[0].masks[0].offset.end, 10u);
  for (const FilledText& text : filled) {
    for (const FilledMask& mask : text.masks) {
      ASSERT_EQ(mask.words.size(), 38u);
      double sum = 0;
      for (size_t i = 0; i < mask.words.size(); ++i) {
        sum += mask.words[i].probability;
        EXPECT_EQ(mask.words[i].token, model.tokenizer->Token(mask.words[i].id));
        if (i == 0) continue;
        EXPECT_LE(mask.words[i].probability, mask.words[i - 1].probability);
      }
      EXPECT_LE(sum, 1.0);
      EXPECT_GT(sum, 0.5);
    }
    EXPECT_EQ(text.best.find("[MASK]"), std::string::npos);
  }
}

// One text gives the same words alone and among others of other lengths.
TEST_F(FillMaskTest, BatchingDoesNotChangeWords) {
  const LoadedModel model = Load();
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) {
    std::string text = "[MASK]";
    for (int j = 0; j < i % 20; ++j) text += " word" + std::to_string(11 + (i + j) % 27);
    texts.push_back(text);
  }
  const std::vector<FilledText> all = FillMasks(model, texts, {}).value();
  for (size_t i = 0; i < texts.size(); i += 37) {
    const FilledText alone = FillMasks(model, std::span(texts).subspan(i, 1), {}).value()[0];
    for (size_t k = 0; k < 5; ++k) {
      EXPECT_EQ(alone.masks[0].words[k].id, all[i].masks[0].words[k].id);
      EXPECT_NEAR(alone.masks[0].words[k].probability, all[i].masks[0].words[k].probability, 1e-5);
    }
  }
  EXPECT_TRUE(FillMasks(model, {}, {}).value().empty());
}

TEST_F(FillMaskTest, NamesTheTextThatIsWrong) {
  EXPECT_NE(Refusal({"the [MASK]", "the sun"}).find("text 2 has no [MASK]"), std::string::npos);
  EXPECT_NE(Refusal({"\xFF [MASK]"}).find("text 1"), std::string::npos);
  std::string late;
  for (int i = 0; i < 30; ++i) late += "sun ";
  EXPECT_NE(Refusal({"[MASK] " + late}).find("33 tokens and the model takes at most 24"), std::string::npos);
  EXPECT_EQ(Refusal({"[MASK] " + late}, {.truncate = true}), "");
  EXPECT_NE(Refusal({late + "[MASK]"}, {.truncate = true}).find("beyond the 24 tokens"), std::string::npos);
}

// Damaged weights of any kind of layer end in a sentence, not in a crash.
TEST_F(FillMaskTest, RefusesScoresThatAreNoNumbers) {
  const FeedForwardConfig kinds[] = {{.kind = FeedForwardKind::kDense, .intermediate = 8},
                                     {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 2},
                                     {.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 2},
                                     {.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 2, .paths = 3}};
  for (const FeedForwardConfig& kind : kinds) {
    ModelConfig config = test::SmallConfig();
    config.feed_forward = kind;
    test::RandomTensors tensors = test::MakeRandomTensors(config, 5);
    for (auto& [name, tensor] : tensors) tensor.values.assign(tensor.values.size(), std::nanf(""));
    test::WriteModel(folder_.path(), config, tensors);
    EXPECT_NE(Refusal({"the [MASK]"}).find("no numbers"), std::string::npos);
  }
}

TEST_F(FillMaskTest, NamesWhatTheModelLacks) {
  WriteVocabulary("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n");
  EXPECT_NE(Refusal({"the [MASK]"}).find("no [MASK] token"), std::string::npos);
  std::string large = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (int i = 0; i < 50; ++i) large += "word" + std::to_string(i) + "\n";
  WriteVocabulary(large);
  EXPECT_NE(LoadModel(folder_.path(), &pool_, {}).error().message().find("vocab.txt has 55 tokens"), std::string::npos);
  std::filesystem::remove(folder_.path() + "/vocab.txt");
  EXPECT_NE(LoadModel(folder_.path(), &pool_, {}).error().message().find("neither tokenizer.json nor vocab.txt"),
            std::string::npos);
  ModelConfig classifier = test::SmallConfig();
  classifier.head = {.kind = HeadKind::kSequenceClassification, .labels = 2, .pooler_width = 8};
  test::WriteModel(folder_.path(), classifier, test::MakeRandomTensors(classifier, 5));
  WriteVocabulary("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
  EXPECT_NE(Refusal({"[MASK]"}).find("has no masked-LM head"), std::string::npos);
}

}  // namespace
}  // namespace grove
