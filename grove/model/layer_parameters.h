// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The parameters of one encoder layer in one form, whatever the model's family calls and stores them.
#pragma once

#include <cstdint>
#include <string>

#include "grove/base/aligned.h"
#include "grove/base/result.h"
#include "grove/io/model_config.h"
#include "grove/io/parameters.h"

namespace grove {

struct FeedForwardNames {
  std::string prefix;  // of everything but a dense layer
  std::string dense_in, dense_out;
  bool dense_bias = false;
};

struct LayerNames {
  std::string attention_norm, feed_forward_norm;
  FeedForwardNames feed_forward;
};

LayerNames LayerNamesOf(const ModelConfig& config, int64_t layer);

struct AttentionParameters {
  Weights query_key_value;                   // [heads, 3, head_width, width]
  AlignedArray<float> query_key_value_bias;  // [heads, 3, head_width], or empty
  Weights out;                               // [width, width]
  AlignedArray<float> out_bias;              // [width], or empty
};

// Matrices in `precision`.
Result<AttentionParameters> ReadAttention(const ParameterSource& source, const ModelConfig& config, int64_t layer,
                                          Precision precision);

}  // namespace grove
