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

// The paper's code writes a classifier whose "num_labels" need not be that of its head: the stored head decides.
Status ReadLabels(const SafetensorsFile& weights, HeadConfig& head) {
  if (head.kind != HeadKind::kSequenceClassification) return Ok{};
  GROVE_ASSIGN_OR_RETURN(const TensorView view, weights.Find("head.weight"));
  if (view.shape.size() != 2 || view.shape[0] < 1 || view.shape[1] != head.pooler_width) {
    return Error(ErrorCode::kInvalidArgument, weights.path() + ": tensor \"head.weight\" has shape " +
                                                  ShapeText(view.shape) + " where [labels, " +
                                                  std::to_string(head.pooler_width) + "] is expected");
  }
  head.labels = view.shape[0];
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
  GROVE_RETURN_IF_ERROR(ReadLabels(weights, config.head));
  std::string tokenizer;
  for (const char* file : {"tokenizer.json", "vocab.txt"}) {
    if (tokenizer.empty() && IsFile(path + "/" + file)) tokenizer = path + "/" + file;
  }
  return ModelDirectory{path, std::move(config), std::move(weights), std::move(tokenizer)};
}

}  // namespace grove
