// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/model.h"

#include <utility>

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

}  // namespace

Result<LoadedModel> LoadModel(const std::string& path, ThreadPool* pool, const LoadOptions& options) {
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(path));
  std::optional<Tokenizer> tokenizer;
  if (options.tokenizer) {
    GROVE_ASSIGN_OR_RETURN(tokenizer, LoadTokenizer(directory));
  }
  GROVE_ASSIGN_OR_RETURN(Encoder encoder, Encoder::Load(directory, pool));
  LoadedModel model{path, std::move(tokenizer), std::move(encoder), {}, {}, {}};
  switch (directory.config.head.kind) {
    case HeadKind::kSequenceClassification: {
      GROVE_ASSIGN_OR_RETURN(model.classifier, ClassificationHead::Load(directory, *pool));
      break;
    }
    case HeadKind::kTokenClassification: {
      GROVE_ASSIGN_OR_RETURN(model.token_classifier, TokenClassificationHead::Load(directory, *pool));
      break;
    }
    case HeadKind::kMaskedLm:
    case HeadKind::kNone: {
      GROVE_ASSIGN_OR_RETURN(model.masked_lm, MaskedLmHead::Load(directory, model.encoder));
      break;
    }
  }
  return model;
}

}  // namespace grove
