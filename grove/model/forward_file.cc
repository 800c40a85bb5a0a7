// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/forward_file.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace grove {
namespace {

Error BadTensor(const SafetensorsFile& file, const std::string& tensor, const std::string& text) {
  return Error(ErrorCode::kInvalidArgument, file.path() + ": tensor \"" + tensor + "\" " + text);
}

// Tensor `name` with values in [0, limit), of the shape of the ids once that is known.
Result<std::vector<int64_t>> ReadValues(const SafetensorsFile& file, const std::string& name, int64_t limit,
                                        Shape& shape) {
  Shape own;
  GROVE_ASSIGN_OR_RETURN(std::vector<int64_t> values, file.ReadIntegers(name, &own));
  if (!shape.empty() && own != shape) {
    return BadTensor(file, name,
                     "has shape " + ShapeText(own) + " where that of input_ids, " + ShapeText(shape) + ", is expected");
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0 || values[i] >= limit) {
      return BadTensor(file, name,
                       "has " + std::to_string(values[i]) + " at position " + std::to_string(i) +
                           "; values must be from 0 to " + std::to_string(limit - 1));
    }
  }
  shape = std::move(own);
  return values;
}

Result<FileBatch> ReadInputs(const SafetensorsFile& file, const ModelConfig& config) {
  Shape shape;
  GROVE_ASSIGN_OR_RETURN(const std::vector<int64_t> ids, ReadValues(file, "input_ids", config.vocabulary, shape));
  if (shape.size() != 2 || ids.empty()) {
    return BadTensor(file, "input_ids",
                     "has shape " + ShapeText(shape) +
                         " where [batch, length] with at least one "
                         "token is expected");
  }
  if (shape[1] > config.max_length) {
    return BadTensor(file, "input_ids",
                     "has " + std::to_string(shape[1]) +
                         " tokens per sequence and the model takes "
                         "at most " +
                         std::to_string(config.max_length) + "; shorten the sequences");
  }
  FileBatch inputs{.ids = {ids.begin(), ids.end()}, .batch = shape[0], .length = shape[1]};
  if (file.Has("attention_mask")) {
    GROVE_ASSIGN_OR_RETURN(const std::vector<int64_t> mask, ReadValues(file, "attention_mask", 2, shape));
    inputs.mask.assign(mask.begin(), mask.end());
  }
  if (file.Has("token_type_ids")) {
    const int64_t limit = std::max<int64_t>(config.token_types, 1);
    GROVE_ASSIGN_OR_RETURN(const std::vector<int64_t> types, ReadValues(file, "token_type_ids", limit, shape));
    inputs.types.assign(types.begin(), types.end());
  }
  return inputs;
}

// Of the two outputs together, so that a large batch is refused before it exhausts the memory.
Status CheckSize(const SafetensorsFile& file, const FileBatch& inputs, const ModelConfig& config) {
  constexpr int64_t kMaxFloats = int64_t{1} << 32;
  const HeadConfig& head = config.head;
  const int64_t answers = head.kind == HeadKind::kMaskedLm              ? config.vocabulary
                          : head.kind == HeadKind::kTokenClassification ? head.labels
                                                                        : 0;
  const int64_t per_token = config.width + answers;
  if (inputs.batch * inputs.length > kMaxFloats / per_token) {
    return BadTensor(file, "input_ids",
                     "has shape " + ShapeText({inputs.batch, inputs.length}) +
                         ", whose outputs would take more than 16 GiB; split the batch");
  }
  return Ok{};
}

}  // namespace

TokenBatch FileBatch::View() const {
  return {.ids = ids,
          .mask = mask,
          .types = types,
          .batch = static_cast<size_t>(batch),
          .length = static_cast<size_t>(length)};
}

Result<FileBatch> ReadBatch(const std::string& input, const ModelConfig& config) {
  GROVE_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(input));
  GROVE_ASSIGN_OR_RETURN(FileBatch inputs, ReadInputs(file, config));
  GROVE_RETURN_IF_ERROR(CheckSize(file, inputs, config));
  return inputs;
}

Result<ForwardFileReport> ForwardFile(const LoadedModel& model, const std::string& input, const std::string& output) {
  const ModelConfig& config = model.config();
  GROVE_ASSIGN_OR_RETURN(const FileBatch inputs, ReadBatch(input, config));
  GROVE_ASSIGN_OR_RETURN(const ModelOutput run, RunModel(model, inputs.View()));
  ForwardFileReport report = {{"hidden", {inputs.batch, inputs.length, config.width}}};
  TensorMap tensors = {{"hidden", ViewOf(run.hidden.span(), report["hidden"])}};
  if (run.logits.size() > 0) {
    report["logits"] = LogitsShape(config, inputs.batch, inputs.length);
    tensors["logits"] = ViewOf(run.logits.span(), report["logits"]);
  }
  if (model.pooler) {
    report["pooler_output"] = {inputs.batch, config.width};
    tensors["pooler_output"] = ViewOf(run.pooled.span(), report["pooler_output"]);
  }
  GROVE_RETURN_IF_ERROR(WriteSafetensors(output, tensors, {}));
  return report;
}

}  // namespace grove
