// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Between LibTorch modules and model directories (io/model_directory.h).
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "grove/base/result.h"
#include "grove/io/model_config.h"
#include "grove/io/safetensors.h"
#include "grove/nn/torch_compat.h"

namespace grove::nn {

// The name under which a file holds a parameter; empty: the parameter keeps its value.
using StoredName = std::function<std::string(const SafetensorsFile& file, const std::string& parameter)>;
std::string SameName(const SafetensorsFile& file, const std::string& parameter);

// Buffers that a model's config does not give: stored with the parameters, by name.
std::vector<std::pair<std::string, torch::Tensor>> StoredBuffers(const torch::nn::Module& model);

// Fills every parameter of `model`, and every buffer that its config does not give, from the tensor of its name; int8
// weights (`grove quantize`) are widened. An error if one is missing or has another shape.
Status LoadParameters(const torch::nn::Module& model, const SafetensorsFile& file, const StoredName& stored = SameName);

struct SaveModelOptions {
  bool bf16 = false;             // store weights as bf16, rounded to nearest even
  bool include_decoder = false;  // store the tied decoder.weight too, as the paper's checkpoints do
};

// Writes config.json and model.safetensors into `directory`, which exists; weights first, so that a directory with a
// config.json is complete. A crammedBERT's constant attn.self_attention.norm_factor is written as published.
Status SaveModel(const torch::nn::Module& model, const ModelConfig& config, const std::string& directory,
                 const SaveModelOptions& options);

int64_t CountParameters(const torch::nn::Module& model);

// A view of a contiguous CPU tensor (fp32, bf16 or int64), which the caller keeps alive.
TensorView ViewOfTensor(const torch::Tensor& tensor);

}  // namespace grove::nn
