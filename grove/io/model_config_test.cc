// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/model_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "grove/io/model_directory.h"
#include "tests/temporary_folder.h"

namespace grove {
namespace {

using Json = nlohmann::json;

ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocabulary = 50;
  config.width = 24;
  config.layers = 2;
  config.heads = 3;
  config.max_length = 16;
  config.feed_forward = {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 3};
  return config;
}

Result<ModelConfig> ParseChanged(const ModelConfig& config, const std::function<void(Json&)>& change) {
  Json json = Json::parse(ModelConfigJson(config));
  change(json);
  return ParseModelConfig(json.dump(), "config.json");
}

// Refused with `code`, and the message names the file and says `word`.
void ExpectRefused(const std::function<void(Json&)>& change, ErrorCode code, const std::string& word) {
  const Result<ModelConfig> result = ParseChanged(SmallConfig(), change);
  ASSERT_FALSE(result.ok()) << word;
  EXPECT_EQ(result.error().code(), code) << result.error().message();
  EXPECT_NE(result.error().message().find(word), std::string::npos) << result.error().message();
  EXPECT_EQ(result.error().message().find("config.json"), 0u) << result.error().message();
}

TEST(ModelConfigTest, LabelsSurviveWritingAndReading) {
  ModelConfig config = SmallConfig();
  config.head = {.kind = HeadKind::kTokenClassification, .labels = 3, .label_names = {"O", "B-PER", "I-PER"}};
  Result<ModelConfig> again = ParseModelConfig(ModelConfigJson(config), "config.json");
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again.value().head.kind, HeadKind::kTokenClassification);
  EXPECT_EQ(again.value().head.label_names, config.head.label_names);
  EXPECT_EQ(again.value().head.pooler_width, config.width);
  EXPECT_FALSE(again.value().head.regression);
  config.head = {.kind = HeadKind::kSequenceClassification, .labels = 1, .pooler_width = 8, .regression = true};
  again = ParseModelConfig(ModelConfigJson(config), "config.json");
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_TRUE(again.value().head.regression);
  const auto refused = ParseChanged(config, [](Json& json) { json["id2label"] = {{"1", "a"}}; });
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("id2label"), std::string::npos) << refused.error().message();
  const auto wide =
      ParseChanged(config, [](Json& json) { json["architectures"] = {"ScriptableLMForTokenClassification"}; });
  ASSERT_FALSE(wide.ok());
  EXPECT_NE(wide.error().message().find("head_dim"), std::string::npos) << wide.error().message();
}

TEST(ModelConfigTest, EveryKindSurvivesWritingAndReading) {
  ModelConfig config = SmallConfig();
  config.feed_forward.two_sided = true;
  config.position = PositionKind::kLearned;
  config.embedding_norm = false;
  config.final_norm = false;
  config.norm_eps = 1e-6;
  config.hidden_dropout = 0.25;
  config.pad_id = 3;
  config.head = {
      .kind = HeadKind::kSequenceClassification, .labels = 5, .pooler = PoolerKind::kMean, .pooler_width = 7};
  const std::string text = ModelConfigJson(config);
  const Result<ModelConfig> again = ParseModelConfig(text, "config.json");
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(ModelConfigJson(again.value()), text);
  EXPECT_TRUE(again.value().feed_forward.two_sided);
  EXPECT_EQ(again.value().head.labels, 5);
  EXPECT_EQ(again.value().pad_id, 3);

  const FeedForwardConfig kinds[] = {
      {.kind = FeedForwardKind::kDense, .nonlinearity = NonLinearity::kGeluGlu, .intermediate = 64},
      {.kind = FeedForwardKind::kDense, .nonlinearity = NonLinearity::kRelu, .intermediate = 63},
      {.kind = FeedForwardKind::kLeafTree, .depth = 5, .leaf_width = 4, .paths = 32, .decision_scale = 2.5},
      {.kind = FeedForwardKind::kNone}};
  for (const FeedForwardConfig& kind : kinds) {
    config.feed_forward = kind;
    const std::string written = ModelConfigJson(config);
    const Result<ModelConfig> read = ParseModelConfig(written, "config.json");
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_EQ(ModelConfigJson(read.value()), written);
  }
}

TEST(ModelConfigTest, RefusesValuesThatChangeTheMeaning) {
  const auto arch = [](const char* key, const Json& value) { return [=](Json& j) { j["arch"][key] = value; }; };
  const auto attention = [](const char* key, const Json& value) {
    return [=](Json& j) { j["arch"]["attention"][key] = value; };
  };
  constexpr ErrorCode kCode = ErrorCode::kUnsupported;
  ExpectRefused(arch("norm", "RMSNorm"), kCode, "\"arch.norm\" is \"RMSNorm\"");
  ExpectRefused(arch("norm_scheme", "post"), kCode, "arch.norm_scheme");
  ExpectRefused(arch("use_bias", true), kCode, "arch.use_bias");
  ExpectRefused(arch("skip_head_transform", false), kCode, "arch.skip_head_transform");
  ExpectRefused(arch("ffn_layer_frequency", 2), kCode, "arch.ffn_layer_frequency");
  ExpectRefused(arch("nonlin", "SiLU"), kCode, "\"arch.nonlin\" is \"SiLU\"");
  ExpectRefused(arch("nonlin", "GELUglu"), kCode, "GELUglu");
  ExpectRefused(arch("intermed_type", "mlp"), kCode, "arch.intermed_type");
  ExpectRefused(attention("type", "flash"), kCode, "arch.attention.type");
  ExpectRefused(attention("causal_attention", true), kCode, "arch.attention.causal_attention");
  ExpectRefused(attention("skip_output_projection", true), kCode, "skip_output_projection");
  ExpectRefused(attention("qkv_bias", true), kCode, "qkv_bias");
  ExpectRefused(attention("rotary_embedding", true), kCode, "rotary_embedding");
  ExpectRefused(attention("rotary_embedding", "v2"), kCode, "rotary_embedding");
  ExpectRefused(attention("sequence_op", "cumsum"), kCode, "sequence_op");
  ExpectRefused([](Json& j) { j["arch"]["embedding"]["embedding_dim"] = 12; }, kCode, "embedding_dim");
  ExpectRefused([](Json& j) { j["arch"]["embedding"]["pos_embedding"] = "rope"; }, kCode, "pos_embedding");
  ExpectRefused([](Json& j) { j["model_type"] = "gpt2"; }, kCode, "model_type");
  ExpectRefused([](Json& j) { j["architectures"] = {"ScriptableLMForSCRIPTTraining"}; }, kCode, "architectures");
}

TEST(ModelConfigTest, RefusesMissingKeysWrongTypesAndRanges) {
  const auto set = [](const char* key, const Json& value) { return [=](Json& j) { j["arch"][key] = value; }; };
  const auto embedding = [](const char* key, const Json& value) {
    return [=](Json& j) { j["arch"]["embedding"][key] = value; };
  };
  for (const char* key : {"hidden_size", "num_transformer_layers", "norm_eps", "nonlin", "embedding", "attention",
                          "intermed_size", "intermed_depth", "final_norm"}) {
    ExpectRefused([&](Json& j) { j["arch"].erase(key); }, ErrorCode::kNotFound, key);
  }
  ExpectRefused([](Json& j) { j.erase("arch"); }, ErrorCode::kNotFound, "\"arch\"");
  constexpr ErrorCode kCode = ErrorCode::kInvalidArgument;
  ExpectRefused(set("hidden_size", "24"), kCode, "whole number");
  ExpectRefused(set("hidden_size", 24.0), kCode, "whole number");
  ExpectRefused(set("hidden_size", -24), kCode, "must be from 1");
  ExpectRefused(set("hidden_size", 0), kCode, "must be from 1");
  ExpectRefused(set("hidden_size", int64_t{1} << 32), kCode, "must be from 1");
  ExpectRefused(set("hidden_size", UINT64_MAX), kCode, "must be from 1");
  ExpectRefused(set("hidden_size", 25), kCode, "multiple");
  ExpectRefused(set("hidden_size", Json::array()), kCode, "whole number");
  ExpectRefused(set("intermed_depth", 60), kCode, "intermed_depth");
  ExpectRefused(set("intermed_size", int64_t{1} << 40), kCode, "intermed_size");
  ExpectRefused([](Json& j) { j["arch"]["intermed_size"] = 1 << 20, j["arch"]["intermed_depth"] = 24; }, kCode,
                "limit");
  ExpectRefused(set("norm_eps", "tiny"), kCode, "a number");
  ExpectRefused(set("hidden_dropout_prob", 1.5), kCode, "hidden_dropout_prob");
  ExpectRefused(set("final_norm", 1), kCode, "true or false");
  ExpectRefused(set("fff_two_sided", "yes"), kCode, "true or false");
  ExpectRefused(set("embedding", 3), kCode, "an object");
  ExpectRefused(embedding("vocab_size", 0), kCode, "vocab_size");
  ExpectRefused(embedding("max_seq_length", -1), kCode, "max_seq_length");
  ExpectRefused(embedding("pad_token_id", 50), kCode, "pad_token_id");
}

TEST(ModelConfigTest, RefusesTextThatIsNoConfig) {
  for (const char* text : {"", "{", "[]", "null", "{\"a\":1,\"a\":2}", "{} {}", "{\"arch\":1e999}"}) {
    const Result<ModelConfig> result = ParseModelConfig(text, "config.json");
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_EQ(result.error().message().find("config.json"), 0u) << result.error().message();
  }
  std::string deep;
  for (int i = 0; i < 200'000; ++i) deep += "[";
  EXPECT_FALSE(ParseModelConfig(deep, "config.json").ok());
  std::string closed = deep;
  for (int i = 0; i < 200'000; ++i) closed += "]";
  EXPECT_FALSE(ParseModelConfig(closed, "config.json").ok());
  EXPECT_NE(ParseModelConfig("{\n  \"arch\": }", "config.json").error().message().find("line 2"), std::string::npos);
}

TEST(ModelConfigTest, IgnoresKeysItDoesNotKnow) {
  const auto result = ParseChanged(SmallConfig(), [](Json& j) {
    j["arch"]["budget"] = 24;
    j["arch"]["attention"]["hybrid_layers"] = nullptr;
    j["transformers_version"] = "4.31.0";
  });
  EXPECT_TRUE(result.ok()) << result.error().message();
}

TEST(ModelDirectoryTest, NamesWhatAFolderLacks) {
  const test::TemporaryFolder folder;
  const auto message = [&](const std::string& path) { return ModelDirectory::Open(path).error().message(); };
  EXPECT_NE(message(folder.path() + "/absent").find("is not a folder"), std::string::npos);
  EXPECT_NE(message(folder.path()).find("config.json"), std::string::npos);
  ASSERT_TRUE(WriteTextFile(folder.path() + "/config.json", ModelConfigJson(SmallConfig())).ok());
  EXPECT_NE(message(folder.path()).find("model.safetensors"), std::string::npos);
  ASSERT_TRUE(WriteSafetensors(folder.path() + "/model.safetensors", {}, {}).ok());
  const Result<ModelDirectory> directory = ModelDirectory::Open(folder.path());
  ASSERT_TRUE(directory.ok()) << directory.error().message();
  EXPECT_EQ(directory.value().tokenizer_path, "");
  ASSERT_TRUE(WriteTextFile(folder.path() + "/vocab.txt", "[PAD]\n").ok());
  EXPECT_EQ(ModelDirectory::Open(folder.path()).value().tokenizer_path, folder.path() + "/vocab.txt");
}

}  // namespace
}  // namespace grove
