// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// config.json to ModelConfig. Writing is in model_config_json.cc.
#include "grove/io/model_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "grove/io/bert_config.h"
#include "grove/io/files.h"
#include "grove/io/head_labels.h"
#include "grove/io/json.h"
#include "grove/io/object_reader.h"

namespace grove {
namespace {

using Json = nlohmann::json;

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

// Labels: 0 where the file does not say; ModelDirectory::Open then looks at head.weight.
void ReadHead(const ObjectReader& root, const ObjectReader& arch, ModelConfig& config) {
  HeadConfig& head = config.head;
  const Json* names = root.Find("architectures");
  const std::string name = names != nullptr && names->is_array() && names->size() == 1 && (*names)[0].is_string()
                               ? (*names)[0].get<std::string>()
                               : "";
  if (name == "ScriptableLMForSequenceClassification") {
    head.kind = HeadKind::kSequenceClassification;
  } else if (name == "ScriptableLMForTokenClassification") {
    head.kind = HeadKind::kTokenClassification;
  } else if (name != "ScriptableLMForPreTraining") {
    root.Fail(ErrorCode::kUnsupported,
              "\"architectures\" must be [\"ScriptableLMForPreTraining\"], "
              "[\"ScriptableLMForSequenceClassification\"] or [\"ScriptableLMForTokenClassification\"]");
  }
  head.decoder_bias = arch.Boolean("decoder_bias", false);
  if (head.kind == HeadKind::kMaskedLm) return;
  head.labels = arch.Integer("num_labels", 1, kMaxWidth, 0);
  ReadLabels(root, head);
  const ObjectReader pooling = arch.Object("classification_head");
  if (head.kind == HeadKind::kTokenClassification) {
    head.pooler_dense = false;
    head.pooler_width = pooling.Integer("head_dim", 1, kMaxWidth);
    if (head.pooler_width != config.width) {
      pooling.Fail(ErrorCode::kInvalidArgument,
                   pooling.Path("head_dim") + " must equal \"arch.hidden_size\" for token classification");
    }
    return;
  }
  head.pooler = pooling.Choice<PoolerKind>("pooler", {{"avg", PoolerKind::kAverage},
                                                      {"lse", PoolerKind::kLogSumExp},
                                                      {"max", PoolerKind::kMax},
                                                      {"mean", PoolerKind::kMean},
                                                      {"zero_index", PoolerKind::kFirstToken}});
  head.pooler_dense = pooling.Boolean("include_ff_layer");
  head.pooler_width = pooling.Integer("head_dim", 1, kMaxWidth);
  pooling.Only("nonlin", "Tanh");
  if (!head.pooler_dense && head.pooler_width != config.width) {
    pooling.Fail(ErrorCode::kInvalidArgument,
                 pooling.Path("head_dim") + " must equal \"arch.hidden_size\" where \"include_ff_layer\" is false");
  }
}

// Quantized by others: their tensors would be read as something else.
void CheckQuantization(const ObjectReader& root) {
  if (root.Find("quantization_config") != nullptr) root.Object("quantization_config").Only("quant_method", "grove");
}

Precision ReadPrecision(const ObjectReader& root) {
  CheckQuantization(root);
  return root.Choice<Precision>("weight_precision",
                                {{"bf16", Precision::kBf16}, {"fp32", Precision::kFp32}, {"int8", Precision::kInt8}},
                                Precision::kFp32);
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
  config.family = root.Choice<ModelFamily>("model_type", {{"bert", ModelFamily::kBert},
                                                          {"crammedBERT", ModelFamily::kCrammedBert},
                                                          {"distilbert", ModelFamily::kDistilBert},
                                                          {"grove_bert", ModelFamily::kBert},
                                                          {"grove_distilbert", ModelFamily::kDistilBert}});
  const Precision precision = ReadPrecision(root);
  if (error) return *std::move(error);
  if (config.family != ModelFamily::kCrammedBert) {
    GROVE_ASSIGN_OR_RETURN(config, ParseBertConfig(document, name));
    config.weight_precision = precision;
    return config;
  }
  config.weight_precision = precision;
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
  config.layer_feed_forward = ReadLayerFeedForwards(arch, config.layers, config.feed_forward);
  ReadHead(root, arch, config);
  if (error) return *std::move(error);
  return config;
}

Result<ModelConfig> ReadModelConfig(const std::string& path) {
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  return ParseModelConfig(text, path);
}

}  // namespace grove
