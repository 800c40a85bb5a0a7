// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The feedforward layers that `grove bench layer` sets side by side, each with random weights and its own slow, exact
// oracle. x and y are [tokens, width].
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "grove/base/thread_pool.h"

namespace grove::bench {

class LayerContender {
 public:
  virtual ~LayerContender() = default;
  virtual void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const = 0;
  virtual void Reference(const float* x, size_t tokens, float* y) const = 0;

  std::string name;         // "neuron trees 1x11"
  bool dense = false;       // a baseline or control, not a tree
  size_t stored = 0;        // neurons
  size_t active = 0;        // neurons computed for one token, decisions of leaf trees not counted
  size_t decisions = 0;     // leaf trees: decision products of one token, on average over random input
  size_t weight_bytes = 0;  // as kept in memory for inference
  // Multiply-adds of one token, times two: products of the active neurons and the decisions.
  double FlopsPerToken(size_t width) const;
};

std::unique_ptr<LayerContender> MakeDenseContender(size_t width, size_t neurons, const ThreadPool& pool);
std::unique_ptr<LayerContender> MakeNeuronTreeContender(size_t width, size_t trees, size_t depth);
std::unique_ptr<LayerContender> MakeLeafTreeContender(size_t width, size_t depth, size_t leaf_width, size_t paths);

// `count` values of the order of 1 / sqrt(`fan_in`), symmetric around 0, the same for the same seed.
std::vector<float> RandomWeights(size_t count, size_t fan_in, uint64_t seed);

}  // namespace grove::bench
