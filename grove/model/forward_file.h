// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// One batch from a safetensors file to another: the scriptable way in.
//
//   input    input_ids [batch, length] (I64, I32 or U8), at least one token
//            attention_mask [batch, length], 0 or 1; optional: all tokens count
//            token_type_ids [batch, length]; optional. Models without token types refuse anything but 0 instead of
//            dropping it silently
//            other tensors are ignored
//   output   hidden [batch, length, width] F32
//            logits [batch, length, vocabulary] F32, or [batch, labels] or [batch, length, labels] for a classifier
//            pooler_output [batch, width] F32 of a BERT without a head that stores its pooler
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/io/safetensors.h"
#include "grove/model/model.h"

namespace grove {

// The input.
struct FileBatch {
  std::vector<int32_t> ids;
  std::vector<uint8_t> mask = {};   // empty: none given
  std::vector<uint8_t> types = {};  // empty: none given
  int64_t batch = 0, length = 0;

  TokenBatch View() const;
};

// An error names the file, the tensor and what is wrong with it.
Result<FileBatch> ReadBatch(const std::string& input, const ModelConfig& config);

// The tensors written and their shapes.
using ForwardFileReport = std::map<std::string, Shape>;

// Writes `output` atomically; an error leaves it as it was.
Result<ForwardFileReport> ForwardFile(const LoadedModel& model, const std::string& input, const std::string& output);

}  // namespace grove
