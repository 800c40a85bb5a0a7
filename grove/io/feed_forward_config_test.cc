// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Every kind of feedforward layer through config.json and back, what is refused, and how neurons are counted.
#include "grove/io/feed_forward_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "grove/io/model_config.h"

namespace grove {
namespace {

using Json = nlohmann::json;
using enum FeedForwardKind;

ModelConfig ConfigWith(const FeedForwardConfig& layer) {
  ModelConfig config;
  config.vocabulary = 50;
  config.width = 24;
  config.layers = 3;
  config.heads = 3;
  config.max_length = 16;
  config.feed_forward = layer;
  return config;
}

const FeedForwardConfig kMixture{.kind = kMoe, .experts = 8, .expert_width = 5, .top_k = 2};
const FeedForwardConfig kLeaves{.kind = kLeafTree, .depth = 3, .leaf_width = 4};
const FeedForwardConfig kNeurons{.kind = kNeuronTree, .trees = 2, .depth = 3};
const FeedForwardConfig kKeys{.kind = kProductKey, .top_k = 4, .key_heads = 2, .sub_keys = 16, .key_width = 8};

FeedForwardConfig With(FeedForwardConfig config, const std::function<void(FeedForwardConfig&)>& change) {
  change(config);
  return config;
}

std::vector<FeedForwardConfig> EveryKind() {
  return {{.kind = kDense, .nonlinearity = NonLinearity::kGeluGlu, .intermediate = 64},
          {.kind = kNone},
          kLeaves,
          With(kLeaves, [](auto& c) { c.trees = 3, c.paths = 8, c.decision_scale = 2.5; }),
          With(kLeaves, [](auto& c) { c.gates = GateKind::kProbability, c.always_on = 6; }),
          kMixture,
          With(kMixture, [](auto& c) { c.router = RouterKind::kNoisyTopK, c.always_on = 3; }),
          With(kMixture, [](auto& c) { c.gates = GateKind::kProbability, c.nonlinearity = NonLinearity::kRelu; }),
          kNeurons,
          With(kNeurons, [](auto& c) { c.two_sided = true, c.routing = TreeRouting::kStraightThrough; }),
          With(kNeurons, [](auto& c) { c.routing = TreeRouting::kRandom, c.routing_seed = 7, c.always_on = 1; }),
          With(kNeurons, [](auto& c) { c.routing = TreeRouting::kTokenHash, c.routing_seed = int64_t{1} << 53; }),
          kKeys,
          With(kKeys, [](auto& c) { c.always_on = 9; })};
}

TEST(FeedForwardConfig, EveryKindSurvivesWritingAndReading) {
  for (const FeedForwardConfig& layer : EveryKind()) {
    const std::string text = ModelConfigJson(ConfigWith(layer));
    const Result<ModelConfig> read = ParseModelConfig(text, "config.json");
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_EQ(read.value().feed_forward, layer) << text;
    EXPECT_EQ(text.find("layer_feed_forward"), std::string::npos);
    EXPECT_TRUE(read.value().FeedForwardOf(2) == layer);
  }
}

TEST(FeedForwardConfig, LayersMayDiffer) {
  ModelConfig config = ConfigWith(kLeaves);
  config.layer_feed_forward = {{.intermediate = 12}, kLeaves, {.kind = kNone}};
  const std::string text = ModelConfigJson(config);
  EXPECT_TRUE(Json::parse(text)["arch"]["layer_feed_forward"][1].is_null());
  const Result<ModelConfig> read = ParseModelConfig(text, "config.json");
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read.value().layer_feed_forward, config.layer_feed_forward);
  EXPECT_EQ(read.value().FeedForwardOf(2).kind, kNone);
  EXPECT_EQ(DescribeFeedForward(config),
            "layer 0: dense 12; layer 1: leaf tree depth 3, 8 leaves of 4, 1 path; layer 2: none");
  config.layer_feed_forward = {kLeaves, kLeaves, {.kind = kNone}};
  EXPECT_EQ(DescribeFeedForward(config), "layers 0-1: leaf tree depth 3, 8 leaves of 4, 1 path; layer 2: none");
  config.layer_feed_forward = {kLeaves, kLeaves, kLeaves};
  EXPECT_EQ(DescribeFeedForward(config), "leaf tree depth 3, 8 leaves of 4, 1 path");
}

TEST(FeedForwardConfig, LayersOfABertMayDiffer) {
  ModelConfig config = ConfigWith({.intermediate = 12});
  config.family = ModelFamily::kBert;
  config.token_types = 2;
  config.layer_feed_forward = {{.intermediate = 12}, kLeaves, {.kind = kNone}};
  const std::string text = ModelConfigJson(config);
  EXPECT_EQ(Json::parse(text)["model_type"], "grove_bert");
  const Result<ModelConfig> read = ParseModelConfig(text, "config.json");
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read.value().layer_feed_forward, config.layer_feed_forward);
}

void ExpectRefused(const FeedForwardConfig& layer, const std::function<void(Json&)>& change, const std::string& word) {
  Json json = Json::parse(ModelConfigJson(ConfigWith(layer)));
  change(json["arch"]);
  const Result<ModelConfig> result = ParseModelConfig(json.dump(), "config.json");
  ASSERT_FALSE(result.ok()) << word;
  EXPECT_NE(result.error().message().find(word), std::string::npos) << result.error().message();
  EXPECT_EQ(result.error().message().find("config.json"), 0u) << result.error().message();
}

TEST(FeedForwardConfig, RefusesImpossibleShapes) {
  const auto set = [](const char* key, const Json& value) { return [=](Json& arch) { arch[key] = value; }; };
  const auto without = [](const char* key) { return [=](Json& arch) { arch.erase(key); }; };
  for (const char* key : {"experts", "expert_width", "experts_per_token"}) ExpectRefused(kMixture, without(key), key);
  for (const char* key : {"key_heads", "sub_keys", "key_width", "neurons_per_head"}) {
    ExpectRefused(kKeys, without(key), key);
  }
  ExpectRefused(kMixture, set("experts_per_token", 9), "\"arch.experts_per_token\" is 9 and must be from 1 to 8");
  ExpectRefused(kMixture, set("router", "sinkhorn"), "supported: \"noisy_top_k\", \"softmax\"");
  ExpectRefused(
      kMixture, [](Json& arch) { arch["router"] = "noisy_top_k", arch["gates"] = "probability"; }, "gates");
  ExpectRefused(kMixture, set("nonlin", "GELUglu"), "GELUglu");
  ExpectRefused(kKeys, set("key_width", 7), "even");
  ExpectRefused(kKeys, set("neurons_per_head", 17), "neurons_per_head");
  ExpectRefused(kLeaves, set("leaf_paths", 9), "leaf_paths");
  ExpectRefused(kLeaves, set("leaf_trees", 0), "leaf_trees");
  ExpectRefused(kLeaves, set("gates", "even"), "gates");
  ExpectRefused(kLeaves, set("always_on", -1), "always_on");
  ExpectRefused(
      kLeaves, [](Json& arch) { arch["leaf_trees"] = 1 << 20, arch["leaf_width"] = 1 << 10; }, "limit");
  ExpectRefused(kNeurons, set("fff_routing", "soft"), "fff_routing");
  ExpectRefused(kNeurons, set("routing_seed", -3), "routing_seed");
  ExpectRefused(kNeurons, set("layer_feed_forward", Json::array({nullptr})), "must be a list of 3 entries");
  ExpectRefused(kNeurons, set("layer_feed_forward", Json::array({nullptr, nullptr, 4})), "layer_feed_forward[2]");
  const Json broken = {{"intermed_type", "moe"}, {"nonlin", "GELU"}, {"experts", "8"}};
  ExpectRefused(kNeurons, set("layer_feed_forward", Json::array({nullptr, broken, nullptr})),
                "\"arch.layer_feed_forward[1].experts\" must be a whole number");
}

struct Count {
  FeedForwardConfig layer;
  int64_t stored, active;
  std::string text;
};

TEST(FeedForwardConfig, CountsAndDescribes) {
  const Count counts[] = {
      {{.kind = kDense, .nonlinearity = NonLinearity::kGeluGlu, .intermediate = 64}, 64, 64, "dense 64, GLU"},
      {{.kind = kNone, .always_on = 5}, 0, 0, "none"},
      {{.kind = kNeuronTree, .trees = 16, .depth = 7}, 16 * 255, 128, "neuron trees 16x7"},
      {With(kNeurons, [](auto& c) { c.routing = TreeRouting::kRandom, c.two_sided = true; }), 2 * 15, 2 * (4 + 3),
       "neuron trees 2x3, two-sided, random routing"},
      {With(kNeurons, [](auto& c) { c.routing = TreeRouting::kTokenHash, c.always_on = 10; }), 2 * 15 + 10, 2 * 4 + 10,
       "neuron trees 2x3, routed by token hash, 10 always on"},
      {With(kNeurons, [](auto& c) { c.routing = TreeRouting::kStraightThrough; }), 30, 8,
       "neuron trees 2x3, straight-through decisions"},
      {{.kind = kLeafTree, .depth = 5, .leaf_width = 128},
       4096,
       128 + 5,
       "leaf tree depth 5, 32 leaves of 128, 1 path"},
      {{.kind = kLeafTree, .trees = 2, .depth = 3, .leaf_width = 4, .paths = 3, .gates = GateKind::kProbability},
       64,
       2 * (3 * 4 + 7),
       "2 leaf trees depth 3, each 8 leaves of 4, 3 paths, gated by probability"},
      {With(kMixture, [](auto& c) { c.always_on = 6; }), 40 + 6, 10 + 8 + 6,
       "mixture of 8 experts of 5, 2 for a token, 6 always on"},
      {With(kMixture, [](auto& c) { c.router = RouterKind::kNoisyTopK; }), 40, 18,
       "mixture of 8 experts of 5, 2 for a token, noisy top-k"},
      {kKeys, 256, 2 * 4 + 2 * 8 + 2 * 2 * 16, "product keys, 16x16 neurons, 2 heads of 4"},
  };
  for (const Count& count : counts) {
    EXPECT_EQ(count.layer.StoredNeurons(), count.stored) << count.text;
    EXPECT_EQ(count.layer.ActiveNeurons(), count.active) << count.text;
    EXPECT_EQ(DescribeFeedForward(count.layer), count.text);
  }
  // 64 scores of 4 numbers each are as much work as 11 products of the width 24.
  EXPECT_EQ(kKeys.ActiveNeurons(24), 2 * 4 + 2 * 8 + 11);
}

}  // namespace
}  // namespace grove
