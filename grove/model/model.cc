// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/model.h"

#include <utility>

#include "grove/base/check.h"

namespace grove {
namespace {

Result<Tokenizer> LoadTokenizer(const ModelDirectory& directory) {
  if (directory.tokenizer_path.empty()) {
    return Error(ErrorCode::kNotFound, directory.path +
                                           " has neither tokenizer.json nor vocab.txt; add the tokenizer "
                                           "that the model was trained with");
  }
  GROVE_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(directory.tokenizer_path));
  const auto words = static_cast<size_t>(directory.config.vocabulary);
  if (tokenizer.vocabulary_size() > words) {
    return Error(ErrorCode::kInvalidArgument, directory.tokenizer_path + " has " +
                                                  std::to_string(tokenizer.vocabulary_size()) +
                                                  " tokens and the model only " + std::to_string(words) +
                                                  "; use the tokenizer that belongs to the model");
  }
  return tokenizer;
}

Status LoadHead(const ParameterSource& source, const ThreadPool& pool, LoadedModel& model) {
  const ModelConfig& config = model.config();
  switch (config.head.kind) {
    case HeadKind::kMaskedLm: {
      GROVE_ASSIGN_OR_RETURN(model.masked_lm, MaskedLmHead::Load(source, model.encoder));
      return Ok{};
    }
    case HeadKind::kNone: {
      if (config.family != ModelFamily::kBert || !config.head.pooler_dense) return Ok{};
      GROVE_ASSIGN_OR_RETURN(model.pooler, FirstTokenPooler::Load(source, config, pool));
      return Ok{};
    }
    case HeadKind::kSequenceClassification: {
      GROVE_ASSIGN_OR_RETURN(model.classifier, ClassificationHead::Load(source, config, pool));
      return Ok{};
    }
    case HeadKind::kTokenClassification: {
      GROVE_ASSIGN_OR_RETURN(model.token_classifier, TokenClassificationHead::Load(source, config, pool));
      return Ok{};
    }
  }
  GROVE_CHECK(false);
}

}  // namespace

Result<LoadedModel> LoadModel(const std::string& path, ThreadPool* pool, const LoadOptions& options) {
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(path));
  std::optional<Tokenizer> tokenizer;
  if (options.tokenizer) {
    GROVE_ASSIGN_OR_RETURN(tokenizer, LoadTokenizer(directory));
  }
  GROVE_ASSIGN_OR_RETURN(Encoder encoder, Encoder::Load(directory, pool));
  LoadedModel model{.path = path, .tokenizer = std::move(tokenizer), .encoder = std::move(encoder)};
  GROVE_RETURN_IF_ERROR(LoadHead(FileParameters(directory.weights, directory.config), *pool, model));
  return model;
}

Shape LogitsShape(const ModelConfig& config, int64_t batch, int64_t length) {
  switch (config.head.kind) {
    case HeadKind::kMaskedLm:
      return {batch, length, config.vocabulary};
    case HeadKind::kNone:
      return {};
    case HeadKind::kSequenceClassification:
      return {batch, config.head.labels};
    case HeadKind::kTokenClassification:
      return {batch, length, config.head.labels};
  }
  GROVE_CHECK(false);
}

Result<ModelOutput> RunModel(const LoadedModel& model, const TokenBatch& batch) {
  ModelOutput output;
  GROVE_ASSIGN_OR_RETURN(output.hidden, model.encoder.Forward(batch));
  size_t size = model.config().head.kind == HeadKind::kNone ? 0 : 1;
  for (const int64_t extent :
       LogitsShape(model.config(), static_cast<int64_t>(batch.batch), static_cast<int64_t>(batch.length))) {
    size *= static_cast<size_t>(extent);
  }
  output.logits = AlignedArray<float>(size);
  ThreadPool& pool = model.encoder.pool();
  const float* hidden = output.hidden.data();
  const size_t tokens = batch.batch * batch.length;
  if (tokens == 0) return output;
  if (model.masked_lm) model.masked_lm->Forward(hidden, tokens, output.logits.data(), pool);
  if (model.token_classifier) model.token_classifier->Forward(hidden, tokens, output.logits.data(), pool);
  if (model.classifier) model.classifier->Forward(hidden, batch.batch, batch.length, output.logits.data(), pool);
  if (model.pooler) {
    output.pooled = AlignedArray<float>(batch.batch * static_cast<size_t>(model.config().width));
    model.pooler->Forward(hidden, batch.batch, batch.length, output.pooled.data(), pool);
  }
  return output;
}

}  // namespace grove
