// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/bert_names.h"

#include <utility>

namespace grove {
namespace {

constexpr BertLayerNames kBertNames = {"attention.self.query",
                                       "attention.self.key",
                                       "attention.self.value",
                                       "attention.output.dense",
                                       "attention.output.LayerNorm",
                                       "intermediate.dense",
                                       "output.dense",
                                       "feed_forward",
                                       "output.LayerNorm"};
constexpr BertLayerNames kDistilBertNames = {
    "attention.q_lin",  "attention.k_lin", "attention.v_lin", "attention.out_lin",
    "sa_layer_norm",    "ffn.lin1",        "ffn.lin2",        "ffn",
    "output_layer_norm"};

}  // namespace

const BertLayerNames& BertLayerNamesOf(ModelFamily family) {
  return family == ModelFamily::kBert ? kBertNames : kDistilBertNames;
}

std::string BertEncoderName(const ModelConfig& config, const std::string& name) {
  if (config.head.kind == HeadKind::kNone) return name;
  return (config.family == ModelFamily::kBert ? "bert." : "distilbert.") + name;
}

std::string BertLayerPrefix(const ModelConfig& config, int64_t layer) {
  const char* folder = config.family == ModelFamily::kBert ? "encoder.layer." : "transformer.layer.";
  return BertEncoderName(config, folder + std::to_string(layer));
}

std::string StoredBertName(const SafetensorsFile& file, const std::string& name) {
  const auto without_prefix = [](const std::string& text) {
    for (const char* prefix : {"bert.", "distilbert."}) {
      if (text.starts_with(prefix)) return text.substr(std::string(prefix).size());
    }
    return text;
  };
  const auto older = [](const std::string& text) {
    for (const auto& [now, then] :
         {std::pair{"LayerNorm.weight", "LayerNorm.gamma"}, std::pair{"LayerNorm.bias", "LayerNorm.beta"}}) {
      if (text.ends_with(now)) return text.substr(0, text.size() - std::string(now).size()) + then;
    }
    return text;
  };
  for (const std::string& form : {name, older(name), without_prefix(name), older(without_prefix(name)), "bert." + name,
                                  older("bert." + name), "distilbert." + name}) {
    if (file.Has(form)) return form;
  }
  return name;
}

}  // namespace grove
