// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train convert`: the dense feedforward layers of a trained model (crammedBERT, BERT, DistilBERT; any head)
// become leaf trees of their own neurons (convert_layer.h), healed by a short distillation from the original. The
// output folder is a model directory with conversion.json, what was measured, beside the model.
#pragma once

#include <cstdint>
#include <string>

#include "grove/train/options.h"
#include "grove/train/pretrain.h"

namespace grove::train {

struct ConvertOptions {
  std::string model, output;
  std::string data, text;  // packed text, or a text file to be packed with the model's own tokenizer

  int64_t leaves = 32, leaf_width = 0, paths = 0;
  std::string grouping = "best", routing = "learned";
  int64_t sample_tokens = 8192;

  int64_t heal_steps = 300, batch = 32, micro_batch = 0;
  double learning_rate = 2e-4;
  double mask_share = 0.15;
  double masked_lm_weight = 0, logits_weight = 1, hidden_weight = 1, layer_weight = 1;
  double temperature = 1;
  double balance = 0;
  bool heal_decisions = false;

  int64_t length = 0, validation_sequences = 256;
  int64_t seed = 1;
  std::string device = "auto";
  bool bf16 = true;
  int64_t log_every = 20;
  std::string save_dtype = "fp32";
};

// Bound to `options`, which outlives the list.
OptionList ConvertOptionList(ConvertOptions& options);
// What needs no file: paths and leaves that fit, exactly one of data and text.
Status CheckConvertOptions(const ConvertOptions& options);

struct ConvertSummary {
  bool finished = false;  // false: stopped before the end; nothing but the unfinished folder is left
  std::string report;     // conversion.json
};

// `context`: resume is not supported, a conversion starts anew.
Result<ConvertSummary> Convert(const ConvertOptions& options, const PretrainContext& context);

}  // namespace grove::train
