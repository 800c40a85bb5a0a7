// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/parameters.h"

#include <cmath>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "grove/base/check.h"
#include "grove/io/parameters.h"

namespace grove::nn {
namespace {

DType DTypeOf(const torch::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case torch::kFloat:
      return DType::kF32;
    case torch::kBFloat16:
      return DType::kBf16;
    case torch::kLong:
      return DType::kI64;
    default:
      GROVE_CHECK(!"a dtype that is written to checkpoints");
      return DType::kF32;
  }
}

std::vector<std::pair<std::string, torch::Tensor>> StoredTensors(const torch::nn::Module& model) {
  std::vector<std::pair<std::string, torch::Tensor>> tensors;
  for (const auto& item : model.named_parameters()) tensors.emplace_back(item.key(), item.value());
  for (const auto& buffer : StoredBuffers(model)) tensors.push_back(buffer);
  return tensors;
}

}  // namespace

std::vector<std::pair<std::string, torch::Tensor>> StoredBuffers(const torch::nn::Module& model) {
  std::vector<std::pair<std::string, torch::Tensor>> buffers;
  for (const auto& item : model.named_buffers()) {
    if (!item.key().ends_with("sinusoids")) buffers.emplace_back(item.key(), item.value());
  }
  return buffers;
}

TensorView ViewOfTensor(const torch::Tensor& tensor) {
  GROVE_CHECK(tensor.device().is_cpu() && tensor.is_contiguous());
  return {DTypeOf(tensor),
          tensor.sizes().vec(),
          {static_cast<const std::byte*>(tensor.data_ptr()), static_cast<size_t>(tensor.nbytes())}};
}

int64_t CountParameters(const torch::nn::Module& model) {
  int64_t count = 0;
  for (const torch::Tensor& parameter : model.parameters()) count += parameter.numel();
  return count;
}

std::string SameName(const SafetensorsFile&, const std::string& parameter) { return parameter; }

Status LoadParameters(const torch::nn::Module& model, const SafetensorsFile& file, const StoredName& stored) {
  const torch::NoGradGuard no_grad;
  for (auto& [own, tensor] : StoredTensors(model)) {
    const std::string name = stored(file, own);
    if (name.empty()) continue;
    const WeightsLayout layout{.shape = tensor.sizes().vec(), .depth = SummedAxis(own)};
    GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> values, ReadWide(file, name, layout));
    const torch::Tensor source = torch::empty(tensor.sizes(), torch::kFloat);
    std::memcpy(source.data_ptr<float>(), values.data(), values.size() * sizeof(float));
    tensor.copy_(source);
  }
  return Ok{};
}

Status SaveModel(const torch::nn::Module& model, const ModelConfig& config, const std::string& directory,
                 const SaveModelOptions& options) {
  const torch::NoGradGuard no_grad;
  const torch::ScalarType dtype = options.bf16 ? torch::kBFloat16 : torch::kFloat;
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [name, tensor] : StoredTensors(model)) {
    tensors[name] = tensor.detach().to(torch::kCPU, dtype).contiguous();
  }
  const double head_width = static_cast<double>(config.width / config.heads);
  for (int64_t layer = 0; config.crammed() && layer < config.layers; ++layer) {
    tensors["encoder.layers." + std::to_string(layer) + ".attn.self_attention.norm_factor"] =
        torch::full({}, 1.0 / std::sqrt(head_width));  // fp32 always: the published classes compute with it
  }
  if (options.include_decoder && config.crammed() && config.head.kind == HeadKind::kMaskedLm) {
    tensors["decoder.weight"] = tensors.at("encoder.embedding.word_embedding.weight");
  }
  TensorMap views;
  for (const auto& [name, tensor] : tensors) views[name] = ViewOfTensor(tensor);
  GROVE_RETURN_IF_ERROR(WriteSafetensors(directory + "/model.safetensors", views, {{"format", "pt"}}));
  ModelConfig written = config;
  written.weight_precision = Precision::kFp32;  // whatever it was read from
  return WriteTextFile(directory + "/config.json", ModelConfigJson(written));
}

}  // namespace grove::nn
