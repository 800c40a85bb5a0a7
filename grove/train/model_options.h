// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The encoder that a training verb builds: its shape and its kind of feedforward layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/io/model_config.h"
#include "grove/train/options.h"

namespace grove::train {

// One feedforward layer; docs/feedforward-kinds.md.
struct FeedForwardOptions {
  std::string feed_forward = "leaf_tree";
  std::string nonlinearity = "gelu";
  int64_t intermediate = 1024;
  int64_t trees = 1, depth = 4;
  bool two_sided = false;
  std::string routing = "hard";
  int64_t routing_seed = 0;
  int64_t leaf_width = 32, paths = 2;
  double decision_scale = 1;
  std::string gates = "renormalized";
  int64_t experts = 32, expert_width = 32;
  std::string router = "softmax";
  int64_t top_k = 2;
  int64_t key_heads = 4, sub_keys = 32, key_width = 64;
  int64_t always_on = 0;
};

struct ModelOptions : FeedForwardOptions {
  int64_t layers = 4, width = 256, heads = 4, length = 128;
  std::string positions = "scaled-sinusoidal";
  // Layers that differ from the options above: "0-1: feed_forward=dense intermediate=512; 11: feed_forward=none".
  std::string layer_feed_forward;
  double init_std = 0.02;
  bool decoder_bias = false;
};

// Appends the options of `model` or of one layer to `list`.
void AddFeedForwardOptions(FeedForwardOptions& layer, OptionList& list);
void AddModelOptions(ModelOptions& model, OptionList& list);

// The layer these options describe, not validated.
FeedForwardConfig FeedForwardOf(const FeedForwardOptions& options);

// The feedforward of every layer; empty if `options` say nothing of single ones. An error names the entry.
Result<std::vector<FeedForwardConfig>> LayerFeedForwardsOf(const ModelOptions& options);

// The model these options describe; validated as a config.json would be.
Result<ModelConfig> ModelConfigOf(const ModelOptions& options, double dropout, int64_t vocabulary, int64_t pad_id);

}  // namespace grove::train
