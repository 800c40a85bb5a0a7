// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The model that a pretraining run starts from: random weights of the shape that the options give, or, with
// --start-from, the shape and weights of a model directory.
#pragma once

#include <cstdint>
#include <string>

#include "grove/base/result.h"
#include "grove/io/model_config.h"
#include "grove/nn/torch_compat.h"
#include "grove/train/pretrain_options.h"

namespace grove::train {

// What the packed text asks of a model.
struct DataVocabulary {
  int64_t size = 0;
  int64_t pad_id = 0;
  std::string tokenizer_path;
};

// The shape at the start. Of --start-from's directory, an error if it is no masked LM of the crammedBERT layout, if it
// has other tokens than the data or if it is made for shorter sequences; the dropout is always that of the options.
Result<ModelConfig> InitialModelConfig(const PretrainOptions& options, const DataVocabulary& vocabulary);

// Copies the weights of --start-from's directory into `model`; without --start-from the model stays as it is.
Status LoadInitialWeights(const PretrainOptions& options, const torch::nn::Module& model);

}  // namespace grove::train
