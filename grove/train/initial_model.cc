// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/initial_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "grove/io/model_directory.h"
#include "grove/nn/parameters.h"
#include "grove/text/tokenizer.h"

namespace grove::train {
namespace {

Error Unfit(const PretrainOptions& options, const std::string& what) {
  return Error(ErrorCode::kInvalidArgument, fmt::format("--start-from: {} {}", options.start_from, what));
}

Status CheckVocabulary(const PretrainOptions& options, const ModelDirectory& directory,
                       const DataVocabulary& vocabulary) {
  const std::string advice = "pack the text with the model's tokenizer";
  if (directory.config.vocabulary != vocabulary.size) {
    return Unfit(options, fmt::format("has {} tokens and the data {}; {}", directory.config.vocabulary, vocabulary.size,
                                      advice));
  }
  if (directory.config.pad_id != vocabulary.pad_id) {
    return Unfit(options, fmt::format("has padding token {} and the data {}; {}", directory.config.pad_id,
                                      vocabulary.pad_id, advice));
  }
  if (directory.tokenizer_path.empty()) return Ok{};
  GROVE_ASSIGN_OR_RETURN(const Tokenizer models, Tokenizer::Load(directory.tokenizer_path));
  GROVE_ASSIGN_OR_RETURN(const Tokenizer datas, Tokenizer::Load(vocabulary.tokenizer_path));
  const size_t common = std::min(models.vocabulary_size(), datas.vocabulary_size());
  for (size_t i = 0; i < common; ++i) {
    const auto id = static_cast<int32_t>(i);
    if (models.Token(id) != datas.Token(id)) {
      return Unfit(options, fmt::format("has \"{}\" for token {} and the data \"{}\"; {}", models.Token(id), id,
                                        datas.Token(id), advice));
    }
  }
  return Ok{};
}

}  // namespace

Result<ModelConfig> InitialModelConfig(const PretrainOptions& options, const DataVocabulary& vocabulary) {
  if (options.start_from.empty()) return ModelConfigOf(options, options.dropout, vocabulary.size, vocabulary.pad_id);
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(options.start_from));
  ModelConfig config = directory.config;
  if (!config.crammed() || config.head.kind != HeadKind::kMaskedLm) {
    return Unfit(options, fmt::format("is a {} model, {}; name a crammedBERT masked LM", ModelFamilyName(config.family),
                                      HeadKindName(config.head.kind)));
  }
  GROVE_RETURN_IF_ERROR(CheckVocabulary(options, directory, vocabulary));
  if (config.max_length < options.length) {
    return Unfit(options, fmt::format("takes {} tokens at most and --length is {}; give --length {}", config.max_length,
                                      options.length, config.max_length));
  }
  config.hidden_dropout = options.dropout;
  return config;
}

Status LoadInitialWeights(const PretrainOptions& options, const torch::nn::Module& model) {
  if (options.start_from.empty()) return Ok{};
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(options.start_from));
  return nn::LoadParameters(model, directory.weights);
}

}  // namespace grove::train
