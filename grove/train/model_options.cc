// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/model_options.h"

namespace grove::train {
namespace {

PositionKind PositionOf(const std::string& name) {
  if (name == "learned") return PositionKind::kLearned;
  return name == "sinusoidal" ? PositionKind::kSinusoidal : PositionKind::kScaledSinusoidal;
}

FeedForwardConfig FeedForwardOf(const ModelOptions& options) {
  FeedForwardConfig layer;
  layer.kind = options.feed_forward == "dense"         ? FeedForwardKind::kDense
               : options.feed_forward == "leaf_tree"   ? FeedForwardKind::kLeafTree
               : options.feed_forward == "neuron_tree" ? FeedForwardKind::kNeuronTree
                                                       : FeedForwardKind::kNone;
  layer.nonlinearity = options.nonlinearity == "relu"   ? NonLinearity::kRelu
                       : options.nonlinearity == "gelu" ? NonLinearity::kGelu
                                                        : NonLinearity::kGeluGlu;
  layer.intermediate = options.intermediate;
  layer.trees = options.trees;
  layer.depth = options.depth;
  layer.two_sided = options.two_sided;
  layer.leaf_width = options.leaf_width;
  layer.paths = options.paths;
  layer.decision_scale = options.decision_scale;
  return layer;
}

}  // namespace

void AddModelOptions(ModelOptions& m, OptionList& list) {
  const OptionList own = {
      {"layers", &m.layers, "Encoder blocks", 1, 1000},
      {"width", &m.width, "Length of a token's hidden vector", 1, 65536},
      {"heads", &m.heads, "Attention heads; divide the width", 1, 1024},
      {"length", &m.length, "Tokens of a training sequence, [CLS] and [SEP] among them", 3, 65536},
      {"positions", &m.positions, "How positions enter", 0, 0, "scaled-sinusoidal sinusoidal learned"},
      {"feed_forward", &m.feed_forward, "Kind of feedforward layer", 0, 0, "leaf_tree neuron_tree dense none"},
      {"nonlinearity", &m.nonlinearity, "Of a neuron; gelu_glu for dense only", 0, 0, "gelu relu gelu_glu"},
      {"intermediate", &m.intermediate, "dense: stored neurons", 1, 1 << 24},
      {"trees", &m.trees, "neuron_tree: trees side by side", 1, 1 << 20},
      {"depth", &m.depth, "trees of both kinds: decisions on a path", 0, 24},
      {"two_sided", &m.two_sided, "neuron_tree: left turns have output weights too"},
      {"leaf_width", &m.leaf_width, "leaf_tree: neurons of a leaf", 1, 1 << 20},
      {"paths", &m.paths, "leaf_tree: leaves a token visits", 1, 1 << 20},
      {"decision_scale", &m.decision_scale, "leaf_tree: P(right) = sigmoid(scale x logit)", 1e-6, 1e6},
      {"init_std", &m.init_std, "Standard deviation of the initial weights", 0, 10},
      {"decoder_bias", &m.decoder_bias, "A bias for every word of the vocabulary"},
  };
  list.insert(list.end(), own.begin(), own.end());
}

Result<ModelConfig> ModelConfigOf(const ModelOptions& options, double dropout, int64_t vocabulary, int64_t pad_id) {
  if (options.width % options.heads != 0) {
    return Error(ErrorCode::kInvalidArgument, "--width must be a multiple of --heads");
  }
  ModelConfig config;
  config.vocabulary = vocabulary;
  config.pad_id = pad_id;
  config.layers = options.layers;
  config.width = options.width;
  config.heads = options.heads;
  config.max_length = options.length;
  config.position = PositionOf(options.positions);
  config.hidden_dropout = dropout;
  config.init_std = options.init_std;
  config.head.decoder_bias = options.decoder_bias;
  config.feed_forward = FeedForwardOf(options);
  return ParseModelConfig(ModelConfigJson(config), "the model of these options");
}

}  // namespace grove::train
