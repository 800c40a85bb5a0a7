// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/bert_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "grove/base/check.h"
#include "grove/io/head_labels.h"
#include "grove/io/object_reader.h"

namespace grove {
namespace {

using Json = nlohmann::ordered_json;

// Where the two families name one thing differently.
struct Keys {
  const char *width, *layers, *heads, *intermediate, *activation, *hidden_dropout, *attention_dropout, *head_dropout;
};
constexpr Keys kBertKeys = {"hidden_size", "num_hidden_layers",   "num_attention_heads",          "intermediate_size",
                            "hidden_act",  "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"};
constexpr Keys kDistilBertKeys = {"dim",        "n_layers", "n_heads",           "hidden_dim",
                                  "activation", "dropout",  "attention_dropout", "seq_classif_dropout"};

const Keys& KeysOf(ModelFamily family) { return family == ModelFamily::kBert ? kBertKeys : kDistilBertKeys; }

struct Architecture {
  const char* suffix;  // behind "Bert" or "DistilBert"
  HeadKind head;
};
constexpr std::array<Architecture, 5> kArchitectures = {{
    {"ForMaskedLM", HeadKind::kMaskedLm},
    {"ForPreTraining", HeadKind::kMaskedLm},  // BERT's first form; its next-sentence head is not read
    {"ForSequenceClassification", HeadKind::kSequenceClassification},
    {"ForTokenClassification", HeadKind::kTokenClassification},
    {"Model", HeadKind::kNone},
}};

std::string ArchitectureName(ModelFamily family, const char* suffix) {
  return std::string(family == ModelFamily::kBert ? "Bert" : "DistilBert") + suffix;
}

void ReadHead(const ObjectReader& root, ModelConfig& config) {
  HeadConfig& head = config.head;
  head.kind = HeadKind::kNone;
  head.pooler_width = config.width;
  head.dropout = root.Number(KeysOf(config.family).head_dropout, 0, 1,
                             config.family == ModelFamily::kBert ? config.hidden_dropout : 0.2);
  head.decoder_bias = true;
  const nlohmann::json* names = root.Find("architectures");
  if (names != nullptr) {
    const std::string name =
        names->is_array() && names->size() == 1 && (*names)[0].is_string() ? (*names)[0].get<std::string>() : "";
    const auto* found = std::find_if(kArchitectures.begin(), kArchitectures.end(), [&](const Architecture& entry) {
      return name == ArchitectureName(config.family, entry.suffix);
    });
    if (found == kArchitectures.end()) {
      std::string known;
      for (const Architecture& entry : kArchitectures) {
        known += (known.empty() ? "" : ", ") + ArchitectureName(config.family, entry.suffix);
      }
      root.Fail(ErrorCode::kUnsupported, "\"architectures\" must be one of " + known);
    } else {
      head.kind = found->head;
    }
  }
  if (head.kind == HeadKind::kMaskedLm) root.Only("tie_word_embeddings", true);
  ReadLabels(root, head);
  const nlohmann::json* labels = root.Find("id2label");
  head.labels = labels != nullptr && labels->is_object() ? static_cast<int64_t>(labels->size())
                                                         : root.Integer("num_labels", 1, kMaxWidth, 2);
}

void CheckConditional(const ObjectReader& root, const Keys& keys, const FeedForwardConfig& layer,
                      const FeedForwardConfig& dense) {
  if (layer.kind == FeedForwardKind::kDense) {
    root.Fail(
        ErrorCode::kUnsupported,
        "\"feed_forward.intermed_type\" is \"ff\"; a dense layer is said by \"model_type\" without \"grove_\", or "
        "by null in \"layer_feed_forward\"");
  }
  if (layer.nonlinearity != dense.nonlinearity) {
    root.Fail(ErrorCode::kInvalidArgument,
              "\"feed_forward.nonlin\" and " + root.Path(keys.activation) + " must name the same function");
  }
}

// One object "feed_forward" for every layer, or the list "layer_feed_forward" whose nulls are the family's dense
// layers.
void ReadFeedForwardOf(const ObjectReader& root, const Keys& keys, ModelConfig& config) {
  FeedForwardConfig dense;
  dense.intermediate = root.Integer(keys.intermediate, 1, kMaxNeurons);
  dense.nonlinearity = root.Choice<NonLinearity>(
      keys.activation, {{"gelu", NonLinearity::kGelu}, {"relu", NonLinearity::kRelu}}, NonLinearity::kGelu);
  config.feed_forward = dense;
  const bool ours = root.Find("model_type")->get<std::string>().starts_with("grove_");
  if (!ours) return;
  config.layer_feed_forward = ReadLayerFeedForwards(root, config.layers, dense);
  for (const FeedForwardConfig& layer : config.layer_feed_forward) {
    if (layer != dense) CheckConditional(root, keys, layer, dense);
  }
  if (!config.layer_feed_forward.empty()) return;
  config.feed_forward = {};
  ReadFeedForward(root.Object("feed_forward"), config.feed_forward);
  CheckConditional(root, keys, config.feed_forward, dense);
}

}  // namespace

Result<ModelConfig> ParseBertConfig(const nlohmann::json& document, const std::string& name) {
  std::optional<Error> error;
  const ObjectReader root(document, "", name, error);
  ModelConfig config;
  config.family = root.Choice<ModelFamily>("model_type", {{"bert", ModelFamily::kBert},
                                                          {"distilbert", ModelFamily::kDistilBert},
                                                          {"grove_bert", ModelFamily::kBert},
                                                          {"grove_distilbert", ModelFamily::kDistilBert}});
  const bool bert = config.family == ModelFamily::kBert;
  const Keys& keys = KeysOf(config.family);
  config.vocabulary = root.Integer("vocab_size", 1, kMaxVocabulary);
  config.width = root.Integer(keys.width, 1, kMaxWidth);
  config.layers = root.Integer(keys.layers, 0, kMaxLayers);
  config.heads = root.Integer(keys.heads, 1, kMaxWidth);
  if (config.width % config.heads != 0) {
    root.Fail(ErrorCode::kInvalidArgument, root.Path(keys.width) + " (" + std::to_string(config.width) +
                                               ") must be a multiple of " + root.Path(keys.heads) + " (" +
                                               std::to_string(config.heads) + ")");
  }
  config.max_length = root.Integer("max_position_embeddings", 1, kMaxLength, 512);
  config.pad_id = root.Integer("pad_token_id", 0, std::max<int64_t>(config.vocabulary - 1, 0), 0);
  config.position = PositionKind::kLearned;
  config.final_norm = false;
  config.norm_eps = bert ? root.Number("layer_norm_eps", 0, 1, 1e-12) : 1e-12;
  config.hidden_dropout = root.Number(keys.hidden_dropout, 0, 1, 0.1);
  config.attention_dropout = root.Number(keys.attention_dropout, 0, 1, 0.1);
  config.token_types = bert ? root.Integer("type_vocab_size", 1, kMaxWidth, 2) : 0;
  config.init_std = root.Number("initializer_range", 0, 100, 0.02);
  root.Only("position_embedding_type", "absolute");
  root.Only("is_decoder", false);
  root.Only("add_cross_attention", false);
  ReadFeedForwardOf(root, keys, config);
  ReadHead(root, config);
  if (error) return *std::move(error);
  return config;
}

std::string BertConfigJson(const ModelConfig& config) { return BertConfigJson(config, nullptr); }

std::string BertConfigJson(const ModelConfig& config, const nlohmann::json& before) {
  const bool bert = config.family == ModelFamily::kBert;
  const bool dense = config.feed_forward.kind == FeedForwardKind::kDense;
  const Keys& keys = KeysOf(config.family);
  const auto* architecture = std::find_if(kArchitectures.begin(), kArchitectures.end(),
                                          [&](const Architecture& entry) { return entry.head == config.head.kind; });
  GROVE_CHECK(architecture != kArchitectures.end());
  Json root;
  root["architectures"] = {ArchitectureName(config.family, architecture->suffix)};
  root["model_type"] =
      std::string(dense && config.layer_feed_forward.empty() ? "" : "grove_") + (bert ? "bert" : "distilbert");
  root["vocab_size"] = config.vocabulary;
  root[keys.width] = config.width;
  root[keys.layers] = config.layers;
  root[keys.heads] = config.heads;
  root[keys.intermediate] =
      dense ? config.feed_forward.intermediate : std::max<int64_t>(config.feed_forward.StoredNeurons(), 1);
  root[keys.activation] = config.feed_forward.nonlinearity == NonLinearity::kRelu ? "relu" : "gelu";
  if (!dense) AddFeedForward(config.feed_forward, root["feed_forward"] = Json::object());
  AddLayerFeedForwards(config.layer_feed_forward, config.feed_forward, root);
  root["max_position_embeddings"] = config.max_length;
  root["pad_token_id"] = config.pad_id;
  if (bert) root["layer_norm_eps"] = config.norm_eps;
  if (bert) root["type_vocab_size"] = config.token_types;
  root[keys.hidden_dropout] = config.hidden_dropout;
  root[keys.attention_dropout] = config.attention_dropout;
  root[keys.head_dropout] = config.head.dropout;
  root["initializer_range"] = config.init_std;
  AddLabels(config.head, root);
  root["torch_dtype"] = "float32";
  if (before.is_object()) {
    for (const auto& [key, value] : before.items()) {
      const bool quantized = key == "weight_precision" || key == "quantization_config";  // these weights are not
      if (!root.contains(key) && key != "feed_forward" && key != "num_labels" && !quantized) root[key] = value;
    }
  }
  return root.dump(1) + "\n";
}

}  // namespace grove
