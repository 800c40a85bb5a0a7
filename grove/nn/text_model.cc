// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/text_model.h"

#include "grove/base/check.h"
#include "grove/nn/bert.h"
#include "grove/nn/heads.h"
#include "grove/nn/parameters.h"

namespace grove::nn {

std::shared_ptr<TextModel> MakeTextModel(const ModelConfig& config, const ModuleOptions& options) {
  if (!config.crammed()) return std::make_shared<Bert>(config, options);
  switch (config.head.kind) {
    case HeadKind::kSequenceClassification:
      return std::make_shared<SequenceClassifier>(config, options);
    case HeadKind::kTokenClassification:
      return std::make_shared<TokenClassifier>(config, options);
    case HeadKind::kMaskedLm:
    case HeadKind::kNone:
      return std::make_shared<MaskedLm>(config, options);
  }
  GROVE_CHECK(false);
}

Result<std::shared_ptr<TextModel>> LoadTextModel(const ModelDirectory& directory, const ModuleOptions& options) {
  std::shared_ptr<TextModel> model = MakeTextModel(directory.config, options);
  const StoredName stored = directory.config.crammed() ? StoredName(SameName) : StoredName(StoredBertName);
  GROVE_RETURN_IF_ERROR(LoadParameters(*model, directory.weights, stored));
  model->eval();
  return model;
}

torch::Tensor RowsAt(const torch::Tensor& hidden, const torch::Tensor& positions) {
  const torch::Tensor rows = hidden.flatten(0, 1);
  return positions.defined() ? rows.index_select(0, positions) : rows;
}

}  // namespace grove::nn
