// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/bert_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace grove {
namespace {

using Json = nlohmann::json;

Json Bert() {
  return {{"model_type", "bert"},   {"architectures", {"BertForMaskedLM"}},
          {"vocab_size", 50},       {"hidden_size", 24},
          {"num_hidden_layers", 2}, {"num_attention_heads", 3},
          {"intermediate_size", 96}};
}

Result<ModelConfig> Parse(const Json& json) { return ParseModelConfig(json.dump(), "config.json"); }

void ExpectRefused(const char* key, const Json& value, const std::string& word) {
  Json json = Bert();
  json[key] = value;
  const Result<ModelConfig> result = Parse(json);
  ASSERT_FALSE(result.ok()) << key;
  EXPECT_EQ(result.error().message().find("config.json: "), 0u) << result.error().message();
  EXPECT_NE(result.error().message().find(word), std::string::npos) << result.error().message();
}

TEST(BertConfigTest, AShortFileMeansWhatTransformersAssumes) {
  const auto read = Parse(Bert());
  ASSERT_TRUE(read.ok()) << read.error().message();
  const ModelConfig& config = read.value();
  EXPECT_EQ(config.family, ModelFamily::kBert);
  EXPECT_TRUE(config.post_norm() && config.biases() && config.head_transform());
  EXPECT_EQ(config.max_length, 512);
  EXPECT_EQ(config.token_types, 2);
  EXPECT_EQ(config.hidden_dropout, 0.1);
  EXPECT_EQ(config.head.dropout, 0.1);
  EXPECT_EQ(config.norm_eps, 1e-12);
  EXPECT_EQ(config.feed_forward.kind, FeedForwardKind::kDense);
  EXPECT_EQ(config.feed_forward.intermediate, 96);
  EXPECT_EQ(config.head.kind, HeadKind::kMaskedLm);
}

TEST(BertConfigTest, EveryHeadOfBothFamiliesSurvivesWritingAndReading) {
  ModelConfig config = Parse(Bert()).value();
  for (const ModelFamily family : {ModelFamily::kBert, ModelFamily::kDistilBert}) {
    config.family = family;
    config.token_types = family == ModelFamily::kBert ? 3 : 0;
    for (const HeadKind head :
         {HeadKind::kMaskedLm, HeadKind::kNone, HeadKind::kSequenceClassification, HeadKind::kTokenClassification}) {
      config.head.kind = head;
      config.head.labels = 5;
      config.head.dropout = 0.3;
      for (const bool tree : {false, true}) {
        config.feed_forward = tree ? FeedForwardConfig{.kind = FeedForwardKind::kLeafTree,
                                                       .nonlinearity = NonLinearity::kRelu,
                                                       .depth = 3,
                                                       .leaf_width = 12,
                                                       .paths = 4,
                                                       .decision_scale = 2}
                                   : FeedForwardConfig{.intermediate = 96};
        const std::string text = ModelConfigJson(config);
        const auto again = ParseModelConfig(text, "config.json");
        ASSERT_TRUE(again.ok()) << again.error().message();
        EXPECT_EQ(ModelConfigJson(again.value()), text);
        EXPECT_EQ(again.value().head.kind, head);
        EXPECT_EQ(again.value().feed_forward.StoredNeurons(), 96);
        EXPECT_EQ(Json::parse(text)["model_type"].get<std::string>().starts_with("grove_"), tree);
      }
    }
  }
}

TEST(BertConfigTest, OtherKeysAreKeptWhereTheyAreGiven) {
  Json before = Bert();
  before["architectures"] = {"BertForSequenceClassification"};
  before["id2label"] = {{"0", "bad"}, {"1", "good"}};
  before["problem_type"] = "single_label_classification";
  ModelConfig config = Parse(before).value();
  config.feed_forward = {.kind = FeedForwardKind::kLeafTree, .depth = 2, .leaf_width = 24};
  const Json after = Json::parse(BertConfigJson(config, before));
  EXPECT_EQ(after["id2label"], before["id2label"]);
  EXPECT_EQ(after["problem_type"], before["problem_type"]);
  EXPECT_EQ(after["model_type"], "grove_bert");
  EXPECT_EQ(after["feed_forward"]["leaf_width"], 24);
}

TEST(BertConfigTest, RefusesWhatItCannotCompute) {
  ExpectRefused("hidden_act", "gelu_new", "hidden_act");
  ExpectRefused("position_embedding_type", "relative_key", "position_embedding_type");
  ExpectRefused("is_decoder", true, "is_decoder");
  ExpectRefused("architectures", {"BertForNextSentencePrediction"}, "BertForMaskedLM");
  ExpectRefused("hidden_size", 25, "multiple");
  ExpectRefused("hidden_size", "24", "whole number");
  ExpectRefused("vocab_size", nullptr, "missing");
  ExpectRefused("tie_word_embeddings", false, "tie_word_embeddings");
  ExpectRefused("model_type", "grove_bert", "feed_forward");
  ExpectRefused("model_type", "roberta", "distilbert");
}

}  // namespace
}  // namespace grove
