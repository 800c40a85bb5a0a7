// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <nlohmann/json.hpp>

#include "grove/base/check.h"
#include "grove/io/bert_config.h"
#include "grove/io/head_labels.h"
#include "grove/io/model_config.h"
#include "grove/io/object_reader.h"

namespace grove {
namespace {

using Json = nlohmann::ordered_json;

const char* NonLinearityName(NonLinearity nonlinearity) {
  switch (nonlinearity) {
    case NonLinearity::kGelu:
      return "GELU";
    case NonLinearity::kGeluGlu:
      return "GELUglu";
    case NonLinearity::kRelu:
      return "ReLU";
  }
  GROVE_CHECK(false);
}

const char* PositionName(PositionKind position) {
  switch (position) {
    case PositionKind::kLearned:
      return "learned";
    case PositionKind::kScaledSinusoidal:
      return "scaled-sinusoidal";
    case PositionKind::kSinusoidal:
      return "sinusoidal";
  }
  GROVE_CHECK(false);
}

const char* PoolerName(PoolerKind pooler) {
  switch (pooler) {
    case PoolerKind::kAverage:
      return "avg";
    case PoolerKind::kFirstToken:
      return "zero_index";
    case PoolerKind::kLogSumExp:
      return "lse";
    case PoolerKind::kMax:
      return "max";
  }
  GROVE_CHECK(false);
}

}  // namespace

// "intermed_*" and our own keys; the paper's keys are always there, because its code reads them.
void AddFeedForward(const FeedForwardConfig& layer, Json& arch) {
  switch (layer.kind) {
    case FeedForwardKind::kDense:
      arch["intermed_type"] = "ff";
      arch["intermed_size"] = layer.intermediate;
      break;
    case FeedForwardKind::kLeafTree:
      arch["intermed_type"] = "leaf_tree";
      arch["intermed_depth"] = layer.depth;
      arch["leaf_width"] = layer.leaf_width;
      arch["leaf_paths"] = layer.paths;
      arch["decision_scale"] = layer.decision_scale;
      break;
    case FeedForwardKind::kNeuronTree:
      arch["intermed_type"] = "fff";
      arch["intermed_size"] = layer.trees;
      arch["intermed_depth"] = layer.depth;
      if (layer.two_sided) arch["fff_two_sided"] = true;
      break;
    case FeedForwardKind::kNone:
      arch["intermed_type"] = "none";
      break;
  }
  arch["nonlin"] = NonLinearityName(layer.nonlinearity);
}

namespace {

Json EmbeddingJson(const ModelConfig& config) {
  return {{"vocab_size", config.vocabulary},        {"pos_embedding", PositionName(config.position)},
          {"dropout_prob", config.hidden_dropout},  {"pad_token_id", config.pad_id},
          {"max_seq_length", config.max_length},    {"embedding_dim", config.width},
          {"normalization", config.embedding_norm}, {"stable_low_precision", false}};
}

Json AttentionJson(const ModelConfig& config) {
  return {{"type", "self-attention"},
          {"causal_attention", false},
          {"num_attention_heads", config.heads},
          {"dropout_prob", config.hidden_dropout},
          {"skip_output_projection", false},
          {"qkv_bias", false},
          {"rotary_embedding", false},
          {"seq_op_in_fp32", false},
          {"sequence_op", "torch-softmax"},
          {"high_level_fusion", false},
          {"low_level_fusion", false}};
}

const char* ArchitectureName(HeadKind kind) {
  switch (kind) {
    case HeadKind::kSequenceClassification:
      return "ScriptableLMForSequenceClassification";
    case HeadKind::kTokenClassification:
      return "ScriptableLMForTokenClassification";
    case HeadKind::kMaskedLm:
    case HeadKind::kNone:  // the published layout has no such thing: its masked LM without a decoder of its own
      return "ScriptableLMForPreTraining";
  }
  GROVE_CHECK(false);
}

Json ClassificationHeadJson(const ModelConfig& config) {
  return {{"pooler", PoolerName(config.head.pooler)},
          {"include_ff_layer", config.head.pooler_dense},
          {"head_dim", config.head.pooler_width != 0 && config.head.kind != HeadKind::kTokenClassification
                           ? config.head.pooler_width
                           : config.width},
          {"nonlin", "Tanh"},
          {"classifier_dropout", config.hidden_dropout}};
}

}  // namespace

std::string ModelConfigJson(const ModelConfig& config) {
  if (config.family != ModelFamily::kCrammedBert) return BertConfigJson(config);
  Json arch;
  arch["architectures"] = {"ScriptableCrammedBERT"};
  arch["num_transformer_layers"] = config.layers;
  arch["hidden_size"] = config.width;
  AddFeedForward(config.feed_forward, arch);
  arch["hidden_dropout_prob"] = config.hidden_dropout;
  arch["norm"] = "LayerNorm";
  arch["norm_eps"] = config.norm_eps;
  arch["norm_scheme"] = "pre";
  arch["tie_weights"] = true;
  arch["decoder_bias"] = config.head.decoder_bias;
  arch["sparse_prediction"] = 0.25;
  arch["loss"] = "cross-entropy";
  arch["objective_layout"] = "MLM";
  arch["embedding"] = EmbeddingJson(config);
  arch["attention"] = AttentionJson(config);
  arch["init"] = {{"type", "normal"}, {"std", config.init_std}};
  arch["ffn_layer_frequency"] = 1;
  arch["skip_head_transform"] = true;
  arch["use_bias"] = false;
  arch["final_norm"] = config.final_norm;
  arch["num_labels"] = config.head.classifies() && config.head.labels != 0 ? Json(config.head.labels) : Json();
  arch["classification_head"] = ClassificationHeadJson(config);

  Json root;
  root["architectures"] = {ArchitectureName(config.head.kind)};
  root["model_type"] = "crammedBERT";
  root["arch"] = arch;
  root["torch_dtype"] = "float32";
  root["vocab_size"] = config.vocabulary;
  AddLabels(config.head, root);
  return root.dump(1) + "\n";
}

int64_t FeedForwardConfig::StoredNeurons() const {
  switch (kind) {
    case FeedForwardKind::kDense:
      return intermediate;
    case FeedForwardKind::kLeafTree:
      return leaf_width << depth;
    case FeedForwardKind::kNeuronTree:
      return trees * ((int64_t{2} << depth) - 1);
    case FeedForwardKind::kNone:
      return 0;
  }
  GROVE_CHECK(false);
}

int64_t FeedForwardConfig::ActiveNeurons() const {
  switch (kind) {
    case FeedForwardKind::kDense:
      return intermediate;
    // One path meets `depth` decisions; a search for more may have to open every one.
    case FeedForwardKind::kLeafTree:
      return paths * leaf_width + (paths == 1 ? depth : (int64_t{1} << depth) - 1);
    case FeedForwardKind::kNeuronTree:
      return trees * (depth + 1);
    case FeedForwardKind::kNone:
      return 0;
  }
  GROVE_CHECK(false);
}

std::string_view ModelFamilyName(ModelFamily family) {
  switch (family) {
    case ModelFamily::kBert:
      return "BERT";
    case ModelFamily::kCrammedBert:
      return "crammedBERT";
    case ModelFamily::kDistilBert:
      return "DistilBERT";
  }
  GROVE_CHECK(false);
}

std::string_view HeadKindName(HeadKind kind) {
  switch (kind) {
    case HeadKind::kMaskedLm:
      return "masked LM";
    case HeadKind::kNone:
      return "none";
    case HeadKind::kSequenceClassification:
      return "classification";
    case HeadKind::kTokenClassification:
      return "token classification";
  }
  GROVE_CHECK(false);
}

std::string_view FeedForwardKindName(FeedForwardKind kind) {
  switch (kind) {
    case FeedForwardKind::kDense:
      return "dense";
    case FeedForwardKind::kLeafTree:
      return "leaf_tree";
    case FeedForwardKind::kNeuronTree:
      return "neuron_tree";
    case FeedForwardKind::kNone:
      return "none";
  }
  GROVE_CHECK(false);
}

std::string DescribeFeedForward(const FeedForwardConfig& config) {
  const auto number = [](int64_t value) { return std::to_string(value); };
  switch (config.kind) {
    case FeedForwardKind::kDense:
      return "dense " + number(config.intermediate) + (config.nonlinearity == NonLinearity::kGeluGlu ? ", GLU" : "");
    case FeedForwardKind::kLeafTree: {
      const int64_t leaves = int64_t{1} << config.depth;
      return "leaf tree depth " + number(config.depth) + ", " + number(leaves) +
             (leaves == 1 ? " leaf of " : " leaves of ") + number(config.leaf_width) + ", " + number(config.paths) +
             (config.paths == 1 ? " path" : " paths");
    }
    case FeedForwardKind::kNeuronTree:
      return "neuron trees " + number(config.trees) + "x" + number(config.depth) +
             (config.two_sided ? ", two-sided" : "");
    case FeedForwardKind::kNone:
      return "none";
  }
  GROVE_CHECK(false);
}

}  // namespace grove
