// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// One batch from a safetensors file to another: the scriptable way in.
//
//   input    input_ids [batch, length] (I64, I32 or U8), at least one token
//            attention_mask [batch, length], 0 or 1; optional: all tokens count
//            token_type_ids [batch, length]; optional. crammedBERT has no token types: anything but 0 is refused
//            instead of being dropped silently
//            other tensors are ignored
//   output   hidden [batch, length, width] F32
//            logits [batch, length, vocabulary] F32, or [batch, labels] for a classifier
#pragma once

#include <string>

#include "grove/base/result.h"
#include "grove/io/safetensors.h"
#include "grove/model/model.h"

namespace grove {

struct ForwardFileReport {
  Shape hidden, logits;
};

// Writes `output` atomically; an error leaves it as it was.
Result<ForwardFileReport> ForwardFile(const LoadedModel& model, const std::string& input, const std::string& output);

}  // namespace grove
