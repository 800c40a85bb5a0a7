// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Names of the parameters of BERT and DistilBERT in a checkpoint of Hugging Face Transformers.
#pragma once

#include <cstdint>
#include <string>

#include "grove/io/model_config.h"
#include "grove/io/safetensors.h"

namespace grove {

// Inside one block. "<name>.weight" and "<name>.bias"; `tree` is the folder of a layer in place of the dense one.
struct BertLayerNames {
  const char *query, *key, *value, *attention_out, *attention_norm, *in, *out, *tree, *norm;
};
const BertLayerNames& BertLayerNamesOf(ModelFamily family);

// `name` with the encoder's prefix: "bert.", "distilbert.", or nothing where the model has no head.
std::string BertEncoderName(const ModelConfig& config, const std::string& name);
// "bert.encoder.layer.3"
std::string BertLayerPrefix(const ModelConfig& config, int64_t layer);

// The name under which `file` holds parameter `name`: checkpoints of BERT's first years say gamma and beta for a norm's
// weight and bias, and an encoder stored without a head lacks the prefix "bert.".
std::string StoredBertName(const SafetensorsFile& file, const std::string& name);

}  // namespace grove
