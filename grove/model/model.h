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
  std::optional<MaskedLmHead> masked_lm = {};  // at most one of the four heads
  std::optional<ClassificationHead> classifier = {};
  std::optional<TokenClassificationHead> token_classifier = {};
  std::optional<FirstTokenPooler> pooler = {};  // of a BERT without a head, if it is stored

  const ModelConfig& config() const { return encoder.config(); }
};

struct LoadOptions {
  bool tokenizer = true;  // an error if the directory has none, or one with more words than the model
  EncoderOptions encoder = {};
};

// `pool` must outlive the model.
Result<LoadedModel> LoadModel(const std::string& path, ThreadPool* pool, const LoadOptions& options);

// Reads every parameter of the model from `source`, which must outlive the call, and keeps none: what LoadModel()
// reads.
Status LoadParameters(const ModelDirectory& directory, const ParameterSource& source, ThreadPool* pool,
                      const EncoderOptions& options);

struct ModelOutput {
  AlignedArray<float> hidden;  // [batch, length, width]
  AlignedArray<float> logits;  // as LogitsShape() says, empty without a head
  AlignedArray<float> pooled;  // [batch, width], where the model has `pooler`
};

// [batch, length, vocabulary] of a masked LM, [batch, labels] or [batch, length, labels] of a classifier, [] without a
// head.
Shape LogitsShape(const ModelConfig& config, int64_t batch, int64_t length);

// Encoder and head. Values at padding are 0, or have no meaning where the head reads them (crammedBERT's poolers). The
// errors are those of Encoder::Forward().
Result<ModelOutput> RunModel(const LoadedModel& model, const TokenBatch& batch);

}  // namespace grove
