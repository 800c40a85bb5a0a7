// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/opened_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "grove/text/tokenizer.h"

namespace grove::train {
namespace {

Error Invalid(std::string text) { return Error(ErrorCode::kInvalidArgument, std::move(text)); }

}  // namespace

Result<OpenedModel> OpenTextModel(const std::string& path, const torch::Device& device) {
  GROVE_ASSIGN_OR_RETURN(ModelDirectory directory, ModelDirectory::Open(path));
  GROVE_ASSIGN_OR_RETURN(const auto model, nn::LoadTextModel(directory, nn::ModuleOptions{}));
  model->to(device);
  return OpenedModel{std::move(directory), model};
}

Status CheckFits(const ModelDirectory& directory, const TrainingData& data, int64_t length) {
  if (length > directory.config.max_length) {
    return Invalid(fmt::format("--length is {} and {} reads {} tokens at most", length, directory.path,
                               directory.config.max_length));
  }
  if (directory.config.vocabulary < data.vocabulary()) {
    return Invalid(fmt::format("{} has {} words and the packed text {}; pack the text with the model's tokenizer",
                               directory.path, directory.config.vocabulary, data.vocabulary()));
  }
  if (directory.tokenizer_path.empty()) return Ok{};
  GROVE_ASSIGN_OR_RETURN(const Tokenizer model, Tokenizer::Load(directory.tokenizer_path));
  GROVE_ASSIGN_OR_RETURN(const Tokenizer text, Tokenizer::Load(data.tokenizer_path()));
  const auto words = static_cast<int32_t>(std::min(model.vocabulary_size(), text.vocabulary_size()));
  for (int32_t id = 0; id < words; ++id) {
    if (model.Token(id) == text.Token(id)) continue;
    return Invalid(fmt::format("token {} is \"{}\" in {} and \"{}\" in {}; pack the text with the model's tokenizer",
                               id, model.Token(id), directory.tokenizer_path, text.Token(id), data.tokenizer_path()));
  }
  if (text.vocabulary_size() > model.vocabulary_size()) {
    return Invalid(fmt::format("{} has {} tokens and {} has {}; pack the text with the model's tokenizer",
                               data.tokenizer_path(), text.vocabulary_size(), directory.tokenizer_path,
                               model.vocabulary_size()));
  }
  return Ok{};
}

ModelConfig WithDropout(ModelConfig config, double dropout) {
  config.hidden_dropout = config.attention_dropout = config.head.dropout = dropout;
  return config;
}

std::shared_ptr<nn::TextModel> CopyModel(const nn::TextModel& source, const ModelConfig& config,
                                         const nn::ModuleOptions& options) {
  const auto copy = nn::MakeTextModel(config, options);
  const torch::NoGradGuard no_grad;
  const auto from = source.named_parameters();
  for (auto& item : copy->named_parameters()) item.value().copy_(from[item.key()]);
  return copy;
}

}  // namespace grove::train
