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
    case PoolerKind::kMean:
      return "mean";
  }
  GROVE_CHECK(false);
}

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
  AddLayerFeedForwards(config.layer_feed_forward, config.feed_forward, arch);
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

std::string DescribeFeedForward(const ModelConfig& config) {
  if (config.layer_feed_forward.empty()) return DescribeFeedForward(config.feed_forward);
  const auto number = [](int64_t value) { return std::to_string(value); };
  std::string text;
  for (int64_t first = 0, end = 0; first < config.layers; first = end) {
    while (end < config.layers && config.FeedForwardOf(end) == config.FeedForwardOf(first)) ++end;
    if (first == 0 && end == config.layers) return DescribeFeedForward(config.FeedForwardOf(0));
    text += (first == 0 ? "" : "; ") +
            (end == first + 1 ? "layer " + number(first) : "layers " + number(first) + "-" + number(end - 1));
    text += ": " + DescribeFeedForward(config.FeedForwardOf(first));
  }
  return text;
}

}  // namespace grove
