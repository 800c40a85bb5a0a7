// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/model_directory.h"

#include <filesystem>
#include <system_error>
#include <utility>

namespace grove {
namespace {

bool IsFile(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

// The paper's code writes a classifier whose "num_labels" need not be that of its head, and a BERT says nowhere whether
// its pooler is stored: the weights decide.
Status ReadHead(const SafetensorsFile& weights, const ModelConfig& config, HeadConfig& head) {
  if (head.kind == HeadKind::kMaskedLm) return Ok{};
  if (head.kind == HeadKind::kNone) {
    head.pooler_dense = weights.Has("pooler.dense.weight") || weights.Has("bert.pooler.dense.weight");
    return Ok{};
  }
  const char* name = config.crammed() ? "head.weight" : "classifier.weight";
  const int64_t columns = config.crammed() ? head.pooler_width : config.width;
  GROVE_ASSIGN_OR_RETURN(const TensorView view, weights.Find(name));
  if (view.shape.size() != 2 || view.shape[0] < 1 || view.shape[1] != columns) {
    return Error(ErrorCode::kInvalidArgument, weights.path() + ": tensor \"" + name + "\" has shape " +
                                                  ShapeText(view.shape) + " where [labels, " + std::to_string(columns) +
                                                  "] is expected");
  }
  head.labels = view.shape[0];
  if (head.label_names.size() != static_cast<size_t>(head.labels)) head.label_names.clear();  // of another head
  return Ok{};
}

}  // namespace

Result<ModelDirectory> ModelDirectory::Open(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return Error(ErrorCode::kNotFound, path +
                                           " is not a folder; name a model directory with config.json and "
                                           "model.safetensors");
  }
  for (const char* file : {"config.json", "model.safetensors"}) {
    if (!IsFile(path + "/" + file)) {
      return Error(ErrorCode::kNotFound, path + " is no model directory: it has no " + file);
    }
  }
  GROVE_ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(path + "/config.json"));
  GROVE_ASSIGN_OR_RETURN(SafetensorsFile weights, SafetensorsFile::Open(path + "/model.safetensors"));
  GROVE_RETURN_IF_ERROR(ReadHead(weights, config, config.head));
  std::string tokenizer;
  for (const char* file : {"tokenizer.json", "vocab.txt"}) {
    if (tokenizer.empty() && IsFile(path + "/" + file)) tokenizer = path + "/" + file;
  }
  return ModelDirectory{path, std::move(config), std::move(weights), std::move(tokenizer)};
}

}  // namespace grove
