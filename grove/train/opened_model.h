// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A trained model as distillation and conversion take it in.
#pragma once

#include <memory>
#include <string>

#include "grove/io/model_directory.h"
#include "grove/nn/text_model.h"
#include "grove/train/training_data.h"

namespace grove::train {

struct OpenedModel {
  ModelDirectory directory;
  std::shared_ptr<nn::TextModel> model;  // in evaluation mode, on the device
};
Result<OpenedModel> OpenTextModel(const std::string& path, const torch::Device& device);

// An error unless the model can read the data: the same vocabulary (where the directory has a tokenizer), and sequences
// no longer than its positions.
Status CheckFits(const ModelDirectory& directory, const TrainingData& data, int64_t length);

// Dropout probabilities of a family's config, all set to `dropout`.
ModelConfig WithDropout(ModelConfig config, double dropout);

// A model of `config` with the values of `source`'s parameters, which have the same names and shapes.
std::shared_ptr<nn::TextModel> CopyModel(const nn::TextModel& source, const ModelConfig& config,
                                         const nn::ModuleOptions& options);

}  // namespace grove::train
