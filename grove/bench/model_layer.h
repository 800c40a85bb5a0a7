// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A layer of a trained model for `grove bench layer`: its parameters, and the hidden states that enter it while the
// model reads text. Trained trees visit some paths far more often than others, which random ones do not.
//
//   GROVE_ASSIGN_OR_RETURN(ModelLayer layer, ReadModelLayer({.model = "models/small-leaf-tree", .texts = {"a.txt"}}));
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/result.h"
#include "grove/bench/layer_contender.h"
#include "grove/quant/quantization.h"

namespace grove::bench {

struct ModelLayerOptions {
  std::string model;                      // directory, with a tokenizer
  std::optional<int64_t> layer;           // counted from 0; none: the middle one
  std::vector<std::string> texts;         // files or folders (data/text_reader.h)
  size_t tokens = 4096;                   // of text wanted
  size_t at_least = 1;                    // fewer are an error
  std::optional<Quantization> precision;  // of the layer; the model before it is fp32
  size_t threads = 1;
};

// How unevenly tokens spread over the paths of a tree; of several trees the mean.
struct PathVisits {
  size_t paths = 0;         // that a tree has: its leaves, or the nodes at its bottom
  size_t per_token = 1;     // that a token takes
  double most_visited = 0;  // share of the tokens that take the path that most take
  double never = 0;         // share of the paths that no token takes
  double entropy_bits = 0;  // of the visits; log2(paths) where all paths are visited equally often
};

// ends [tokens, trees, per_token]: tree k's paths are numbered from k * paths on.
PathVisits CountVisits(std::span<const uint32_t> ends, size_t trees, size_t per_token, size_t paths);

struct ModelLayer {
  std::string model;
  int64_t number = 0;
  size_t width = 0;
  AlignedArray<float> x;  // [tokens, width]: what enters the layer
  PathVisits visits, untrained_visits;
  // The layer as the engine runs it, and one of the same shape with random weights.
  std::shared_ptr<LayerContender> trained, untrained;
};

// Layers of leaf trees, and of neuron trees that their own logits route. Of neurons that are always on, which are a
// dense layer of their own, nothing is timed.
Result<ModelLayer> ReadModelLayer(const ModelLayerOptions& options);

}  // namespace grove::bench
