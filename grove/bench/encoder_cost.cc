// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/encoder_cost.h"

#include <algorithm>

namespace grove::bench {
namespace {

// Of one feedforward layer and one token: neurons have an input and an output row, routing products only the first.
struct Visits {
  double neurons = 0, routing = 0;
};

Visits VisitsOf(const FeedForwardConfig& layer, int64_t width) {
  const auto trees = static_cast<double>(layer.trees), depth = static_cast<double>(layer.depth);
  const auto paths = static_cast<double>(layer.paths), always_on = static_cast<double>(layer.always_on);
  const auto decisions = static_cast<double>((int64_t{1} << layer.depth) - 1);
  switch (layer.kind) {
    case FeedForwardKind::kDense: {
      const bool glu = layer.nonlinearity == NonLinearity::kGeluGlu;
      return {static_cast<double>(layer.intermediate) * (glu ? 0.75 : 1.0), 0};
    }
    case FeedForwardKind::kLeafTree:  // best-first search opens about `depth` decisions a path
      return {trees * paths * static_cast<double>(layer.leaf_width) + always_on,
              trees * std::min(paths * depth, decisions)};
    case FeedForwardKind::kMoe:
      return {static_cast<double>(layer.top_k * layer.expert_width) + always_on, static_cast<double>(layer.experts)};
    case FeedForwardKind::kNeuronTree:
      return {trees * (depth + 1) + always_on, layer.routing == TreeRouting::kRandom ? trees * depth : 0};
    case FeedForwardKind::kNone:
      return {};
    case FeedForwardKind::kProductKey: {
      const auto neurons = static_cast<double>(layer.key_heads * layer.top_k);
      return {neurons + always_on, static_cast<double>(layer.ActiveNeurons(width)) - neurons - always_on};
    }
  }
  return {};
}

}  // namespace

EncoderCost CostOf(const ModelConfig& config, Precision precision, const std::vector<size_t>& lengths) {
  const auto width = static_cast<double>(config.width);
  const double value_bytes = precision == Precision::kInt8 ? 1 : precision == Precision::kBf16 ? 2 : 4;
  double tokens = 0, pairs = 0;
  for (const size_t length : lengths) {
    tokens += static_cast<double>(length);
    pairs += static_cast<double>(length * length);
  }
  EncoderCost cost;
  for (int64_t i = 0; i < config.layers; ++i) {
    const FeedForwardConfig& layer = config.FeedForwardOf(i);
    const Visits visits = VisitsOf(layer, config.width);
    const bool dense = layer.kind == FeedForwardKind::kDense;
    const auto stored = static_cast<double>(layer.StoredNeurons());
    const double needed = dense ? stored : std::min(stored, tokens * visits.neurons);
    const double row = width * value_bytes;
    cost.flops += tokens * (8 * width * width + 4 * width * visits.neurons + 2 * width * visits.routing);
    cost.flops += 4 * width * pairs;
    const double attention = 4 * width * width * value_bytes;
    cost.weight_bytes += attention + 2 * stored * row;
    cost.bytes += attention + 2 * needed * row;
    // Written and read: queries, keys, values 6, gathered values 2, both parts' outputs 4, hidden 4, its norms 4.
    cost.bytes += tokens * width * 4 * 20 + (dense ? tokens * 2 * stored * 4 : 0);
  }
  return cost;
}

}  // namespace grove::bench
