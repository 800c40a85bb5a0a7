// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A model directory made ready to run: config, tokenizer, encoder and the head that the config names.
//
//   ThreadPool pool(DefaultThreads());
//   GROVE_ASSIGN_OR_RETURN(const LoadedModel model, LoadModel("models/small-leaf-tree", &pool, {}));
#pragma once

#include <optional>
#include <string>

#include "grove/base/result.h"
#include "grove/base/thread_pool.h"
#include "grove/io/model_config.h"
#include "grove/model/encoder.h"
#include "grove/model/heads.h"
#include "grove/text/tokenizer.h"

namespace grove {

struct LoadedModel {
  std::string path;
  std::optional<Tokenizer> tokenizer;  // where LoadOptions asks for it
  Encoder encoder;
  std::optional<MaskedLmHead> masked_lm;  // exactly one of the three heads
  std::optional<ClassificationHead> classifier;
  std::optional<TokenClassificationHead> token_classifier;

  const ModelConfig& config() const { return encoder.config(); }
};

struct LoadOptions {
  bool tokenizer = true;  // an error if the directory has none, or one with more words than the model
};

// `pool` must outlive the model.
Result<LoadedModel> LoadModel(const std::string& path, ThreadPool* pool, const LoadOptions& options);

}  // namespace grove
