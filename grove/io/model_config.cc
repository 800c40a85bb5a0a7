// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// config.json to ModelConfig. Writing is in model_config_json.cc.
#include "grove/io/model_config.h"

#include <cmath>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "grove/io/files.h"
#include "grove/io/json.h"

namespace grove {
namespace {

using Json = nlohmann::json;

// Reads the keys of one object. The first problem is kept, later reads return defaults: the caller asks for every key
// in turn and looks at the error once.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string path, std::string name, std::optional<Error>& error)
      : object_(object), path_(std::move(path)), name_(std::move(name)), error_(error) {}

  const Json* Find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  ObjectReader Object(const char* key) const {
    static const Json kEmpty = Json::object();
    const Json* value = Require(key);
    if (value != nullptr && !value->is_object()) Wrong(key, "an object");
    return {value != nullptr && value->is_object() ? *value : kEmpty, path_ + key + ".", name_, error_};
  }
  ObjectReader OptionalObject(const char* key) const {
    static const Json kEmpty = Json::object();
    return Find(key) != nullptr ? Object(key) : ObjectReader(kEmpty, path_ + key + ".", name_, error_);
  }

  int64_t Integer(const char* key, int64_t low, int64_t high) const {
    const Json* value = Require(key);
    if (value == nullptr) return low;
    // Whole numbers only; those beyond 2^63 are unsigned in the JSON library and out of every range here.
    if (!value->is_number_integer()) return Wrong(key, "a whole number"), low;
    const bool too_big = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(high);
    if (too_big || value->get<int64_t>() < low || value->get<int64_t>() > high) {
      Fail(ErrorCode::kInvalidArgument, Path(key) + " is " + value->dump() + " and must be from " +
                                            std::to_string(low) + " to " + std::to_string(high));
      return low;
    }
    return value->get<int64_t>();
  }
  int64_t Integer(const char* key, int64_t low, int64_t high, int64_t fallback) const {
    return Find(key) != nullptr ? Integer(key, low, high) : fallback;
  }

  // Within [low, high].
  double Number(const char* key, double low, double high, std::optional<double> fallback = {}) const {
    if (fallback && Find(key) == nullptr) return *fallback;
    const Json* value = Require(key);
    if (value == nullptr) return low;
    if (!value->is_number()) return Wrong(key, "a number"), low;
    const double number = value->get<double>();
    if (!(number >= low && number <= high)) {
      Fail(ErrorCode::kInvalidArgument,
           Path(key) + " is " + value->dump() + " and must be from " + Json(low).dump() + " to " + Json(high).dump());
      return low;
    }
    return number;
  }

  bool Boolean(const char* key, std::optional<bool> fallback = {}) const {
    if (fallback && Find(key) == nullptr) return *fallback;
    const Json* value = Require(key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) return Wrong(key, "true or false"), false;
    return value->get<bool>();
  }

  // One of `choices`, each a name and what it stands for.
  template <class T>
  T Choice(const char* key, std::initializer_list<std::pair<const char*, T>> choices,
           std::optional<T> fallback = {}) const {
    if (fallback && Find(key) == nullptr) return *fallback;
    const Json* value = Require(key);
    if (value == nullptr) return choices.begin()->second;
    if (!value->is_string()) return Wrong(key, "a string"), choices.begin()->second;
    std::string names;
    for (const auto& [text, meaning] : choices) {
      if (*value == text) return meaning;
      names += (names.empty() ? "\"" : ", \"") + std::string(text) + "\"";
    }
    Unsupported(key, *value, names);
    return choices.begin()->second;
  }

  // A key whose other values would change what the model computes. Absent means `only`.
  void Only(const char* key, const Json& only) const {
    const Json* value = Find(key);
    if (value != nullptr && *value != only) Unsupported(key, *value, only.dump());
  }

  void Fail(ErrorCode code, const std::string& text) const {
    if (!error_) error_ = Error(code, name_ + ": " + text);
  }
  std::string Path(const char* key) const { return "\"" + path_ + key + "\""; }

 private:
  const Json* Require(const char* key) const {
    const Json* value = Find(key);
    if (value == nullptr) Fail(ErrorCode::kNotFound, "the key " + Path(key) + " is missing; add it");
    return value;
  }
  void Wrong(const char* key, const char* expected) const {
    Fail(ErrorCode::kInvalidArgument, Path(key) + " must be " + expected);
  }
  void Unsupported(const char* key, const Json& value, const std::string& supported) const {
    std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 60) + "...";
    Fail(ErrorCode::kUnsupported, Path(key) + " is " + text + ", which is not supported; supported: " + supported);
  }

  const Json& object_;
  std::string path_, name_;
  std::optional<Error>& error_;
};

// Limits far above any model and low enough that no product of two or three sizes overflows.
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxVocabulary = int64_t{1} << 28;
constexpr int64_t kMaxLayers = 10'000;
constexpr int64_t kMaxLength = int64_t{1} << 24;
constexpr int64_t kMaxTrees = int64_t{1} << 20;
constexpr int64_t kMaxDepth = 24;
constexpr int64_t kMaxNeurons = int64_t{1} << 28;  // of one layer

// Everything that the paper's code can do and ours cannot.
void CheckFixedKeys(const ObjectReader& arch) {
  arch.Only("norm", "LayerNorm");
  arch.Only("norm_scheme", "pre");
  arch.Only("use_bias", false);
  arch.Only("skip_head_transform", true);
  arch.Only("ffn_layer_frequency", 1);
  const ObjectReader attention = arch.Object("attention");
  attention.Only("type", "self-attention");
  attention.Only("causal_attention", false);
  attention.Only("skip_output_projection", false);
  attention.Only("qkv_bias", false);
  attention.Only("rotary_embedding", false);
  attention.Only("sequence_op", "torch-softmax");
}

void ReadEmbedding(const ObjectReader& arch, ModelConfig& config) {
  const ObjectReader embedding = arch.Object("embedding");
  config.vocabulary = embedding.Integer("vocab_size", 1, kMaxVocabulary);
  config.max_length = embedding.Integer("max_seq_length", 1, kMaxLength);
  config.pad_id = embedding.Integer("pad_token_id", 0, std::max<int64_t>(config.vocabulary - 1, 0), 0);
  config.embedding_norm = embedding.Boolean("normalization");
  config.position =
      embedding.Choice<PositionKind>("pos_embedding", {{"learned", PositionKind::kLearned},
                                                       {"scaled-sinusoidal", PositionKind::kScaledSinusoidal},
                                                       {"sinusoidal", PositionKind::kSinusoidal}});
  embedding.Only("embedding_dim", config.width);
}

void ReadLeafTree(const ObjectReader& arch, FeedForwardConfig& layer) {
  layer.depth = arch.Integer("intermed_depth", 0, kMaxDepth);
  layer.leaf_width = arch.Integer("leaf_width", 1, kMaxWidth);
  layer.paths = arch.Integer("leaf_paths", 1, int64_t{1} << layer.depth, 1);
  layer.decision_scale = arch.Number("decision_scale", 1e-6, 1e6, 1.0);
}

void ReadFeedForward(const ObjectReader& arch, FeedForwardConfig& layer) {
  layer.kind = arch.Choice<FeedForwardKind>("intermed_type",
                                            {{"ff", FeedForwardKind::kDense},
                                             {"fff", FeedForwardKind::kNeuronTree},
                                             {"leaf_tree", FeedForwardKind::kLeafTree},
                                             {"none", FeedForwardKind::kNone}},
                                            FeedForwardKind::kDense);
  layer.nonlinearity = arch.Choice<NonLinearity>(
      "nonlin", {{"GELU", NonLinearity::kGelu}, {"GELUglu", NonLinearity::kGeluGlu}, {"ReLU", NonLinearity::kRelu}});
  const bool glu = layer.nonlinearity == NonLinearity::kGeluGlu;
  if (layer.kind == FeedForwardKind::kDense) {
    layer.intermediate = arch.Integer("intermed_size", 1, kMaxNeurons);
    if (glu && layer.intermediate % 2 != 0) {
      arch.Fail(ErrorCode::kInvalidArgument, arch.Path("intermed_size") + " is " + std::to_string(layer.intermediate) +
                                                 " and must be even for GELUglu, which splits it in two halves");
    }
    return;
  }
  if (glu && layer.kind != FeedForwardKind::kNone) {
    arch.Fail(ErrorCode::kUnsupported, arch.Path("nonlin") +
                                           " is GELUglu, which only dense layers (\"intermed_type\" "
                                           "\"ff\") can have; use GELU");
  }
  if (layer.kind == FeedForwardKind::kNeuronTree) {
    layer.trees = arch.Integer("intermed_size", 1, kMaxTrees);
    layer.depth = arch.Integer("intermed_depth", 0, kMaxDepth);
    layer.two_sided = arch.Boolean("fff_two_sided", false);
  } else if (layer.kind == FeedForwardKind::kLeafTree) {
    ReadLeafTree(arch, layer);
  }
  if (layer.StoredNeurons() > kMaxNeurons) {
    arch.Fail(ErrorCode::kInvalidArgument, "the feedforward layer would have " + std::to_string(layer.StoredNeurons()) +
                                               " neurons, more than the limit of " + std::to_string(kMaxNeurons));
  }
}

// Labels: 0 where the file does not say; ModelDirectory::Open then looks at head.weight.
void ReadHead(const ObjectReader& root, const ObjectReader& arch, ModelConfig& config) {
  HeadConfig& head = config.head;
  const Json* names = root.Find("architectures");
  const std::string name = names != nullptr && names->is_array() && names->size() == 1 && (*names)[0].is_string()
                               ? (*names)[0].get<std::string>()
                               : "";
  if (name == "ScriptableLMForSequenceClassification") {
    head.kind = HeadKind::kSequenceClassification;
  } else if (name != "ScriptableLMForPreTraining") {
    root.Fail(ErrorCode::kUnsupported,
              "\"architectures\" must be [\"ScriptableLMForPreTraining\"] or "
              "[\"ScriptableLMForSequenceClassification\"]");
  }
  head.decoder_bias = arch.Boolean("decoder_bias", false);
  if (head.kind == HeadKind::kMaskedLm) return;
  head.labels = arch.Integer("num_labels", 1, kMaxWidth, 0);
  const ObjectReader pooling = arch.Object("classification_head");
  head.pooler = pooling.Choice<PoolerKind>("pooler", {{"avg", PoolerKind::kAverage},
                                                      {"lse", PoolerKind::kLogSumExp},
                                                      {"max", PoolerKind::kMax},
                                                      {"zero_index", PoolerKind::kFirstToken}});
  head.pooler_dense = pooling.Boolean("include_ff_layer");
  head.pooler_width = pooling.Integer("head_dim", 1, kMaxWidth);
  pooling.Only("nonlin", "Tanh");
  if (!head.pooler_dense && head.pooler_width != config.width) {
    pooling.Fail(ErrorCode::kInvalidArgument,
                 pooling.Path("head_dim") + " must equal \"arch.hidden_size\" where \"include_ff_layer\" is false");
  }
}

}  // namespace

Result<ModelConfig> ParseModelConfig(std::string_view json, const std::string& name) {
  GROVE_ASSIGN_OR_RETURN(const Json document, ParseJson(json, name));
  if (!document.is_object()) {
    return Error(ErrorCode::kCorrupt, name + " is not a JSON object; write a model's config.json there");
  }
  std::optional<Error> error;
  ModelConfig config;
  const ObjectReader root(document, "", name, error);
  root.Choice<bool>("model_type", {{"crammedBERT", true}});
  const ObjectReader arch = root.Object("arch");
  config.width = arch.Integer("hidden_size", 1, kMaxWidth);
  config.layers = arch.Integer("num_transformer_layers", 0, kMaxLayers);
  config.heads = arch.Object("attention").Integer("num_attention_heads", 1, kMaxWidth);
  if (config.width % config.heads != 0) {
    arch.Fail(ErrorCode::kInvalidArgument, arch.Path("hidden_size") + " (" + std::to_string(config.width) +
                                               ") must be a multiple of \"arch.attention.num_attention_heads\" (" +
                                               std::to_string(config.heads) + ")");
  }
  config.final_norm = arch.Boolean("final_norm");
  config.norm_eps = arch.Number("norm_eps", 0, 1);
  config.hidden_dropout = arch.Number("hidden_dropout_prob", 0, 1, 0.0);
  config.init_std = arch.OptionalObject("init").Number("std", 0, 100, 0.02);
  CheckFixedKeys(arch);
  ReadEmbedding(arch, config);
  ReadFeedForward(arch, config.feed_forward);
  ReadHead(root, arch, config);
  if (error) return *std::move(error);
  return config;
}

Result<ModelConfig> ReadModelConfig(const std::string& path) {
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  return ParseModelConfig(text, path);
}

}  // namespace grove
