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
#include "grove/kernels/leaf_tree.h"
#include "grove/kernels/neuron_tree.h"
#include "grove/model/mixture.h"
#include "grove/model/product_key.h"

namespace grove::bench {

class LayerContender {
 public:
  virtual ~LayerContender() = default;
  virtual void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const = 0;
  virtual void Reference(const float* x, size_t tokens, float* y) const = 0;

  std::string name;         // "neuron trees 1x11"
  bool dense = false;       // a baseline or control, not a conditional layer
  size_t stored = 0;        // neurons
  size_t sides = 1;         // output rows of an active neuron: 2 where it is two-sided
  size_t active = 0;        // neurons computed for one token, products of routing not counted
  size_t decisions = 0;     // products of routing as long as the width: leaf trees' decisions (of one token, on average
                            // over random input), experts' scores, product keys' queries and scores
  size_t weight_bytes = 0;  // as kept in memory for inference
  // Multiply-adds of one token, times two: products of the active neurons and of routing.
  double FlopsPerToken(size_t width) const;
};

std::unique_ptr<LayerContender> MakeDenseContender(size_t width, size_t neurons, const ThreadPool& pool);
std::unique_ptr<LayerContender> MakeNeuronTreeContender(const NeuronTreeShape& shape);
// Along paths that fixed random hyperplanes decide.
std::unique_ptr<LayerContender> MakeRandomlyRoutedContender(const NeuronTreeShape& shape);
// `trees` leaf trees of the shape, side by side.
std::unique_ptr<LayerContender> MakeLeafTreeContender(const LeafTreeShape& shape, size_t trees);
std::unique_ptr<LayerContender> MakeMixtureContender(const MixtureShape& shape, const ThreadPool& pool);
std::unique_ptr<LayerContender> MakeProductKeyContender(const ProductKeyShape& shape, const ThreadPool& pool);

// `count` values of the order of 1 / sqrt(`fan_in`), symmetric around 0, the same for the same seed.
std::vector<float> RandomWeights(size_t count, size_t fan_in, uint64_t seed);

}  // namespace grove::bench
