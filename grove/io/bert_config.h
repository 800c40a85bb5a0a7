// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// config.json of BERT and DistilBERT as Hugging Face Transformers writes it. Called by ParseModelConfig().
//
// "model_type" is "bert" or "distilbert". Where a tree or another layer stands in place of the dense feedforward layer,
// our object "feed_forward" says which, with the keys of a crammedBERT's "arch" ("intermed_type", "nonlin", ...), and
// "model_type" is "grove_bert" or "grove_distilbert": Transformers then refuses the model, where it would otherwise
// compute with dense layers of random weights.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "grove/base/result.h"
#include "grove/io/model_config.h"

namespace grove {

// `document` is an object with a known "model_type" of this family; `name` stands for the file in error messages.
Result<ModelConfig> ParseBertConfig(const nlohmann::json& document, const std::string& name);

// The inverse, readable by Transformers where every layer is dense.
std::string BertConfigJson(const ModelConfig& config);
// The same with the other keys of `before` ("id2label", "problem_type", ...) kept, an object or null.
std::string BertConfigJson(const ModelConfig& config, const nlohmann::json& before);

}  // namespace grove
