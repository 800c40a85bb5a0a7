// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The feedforward layers that `grove bench layer` sets side by side, each with random weights (or those of a model:
// model_layer.h) and its own slow, exact oracle. x and y are [tokens, width].
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/kernels/leaf_tree.h"
#include "grove/kernels/neuron_tree.h"
#include "grove/kernels/tree_walk.h"
#include "grove/model/dense_product.h"
#include "grove/model/mixture.h"
#include "grove/model/product_key.h"
#include "grove/quant/quantization.h"

namespace grove::bench {

class LayerContender {
 public:
  virtual ~LayerContender() = default;
  virtual void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const = 0;
  virtual void Reference(const float* x, size_t tokens, float* y) const = 0;
  // Reference() is asked no more: what only it needs may go. Weights of layers of GPT-3's width fill the memory.
  virtual void ForgetReference() {}

  std::string name;         // "neuron trees 1x11"
  bool dense = false;       // a baseline or control, not a conditional layer
  size_t stored = 0;        // neurons
  size_t sides = 1;         // output rows of an active neuron: 2 where it is two-sided
  size_t active = 0;        // neurons computed for one token, products of routing not counted
  size_t decisions = 0;     // products of routing as long as the width: leaf trees' decisions (of one token, on average
                            // over random input), experts' scores, product keys' queries and scores
  size_t weight_bytes = 0;  // as kept in memory for inference
  double tolerance = 1e-4;  // of the error that still counts as verified
  // Multiply-adds of one token, times two: products of the active neurons and of routing.
  double FlopsPerToken(size_t width) const;
  // What memory must move for one token of a batch at least: x and y in floats, and the weights that the batch uses,
  // once (each token others, until all are used).
  double BytesPerToken(size_t width, size_t tokens) const;
};

std::unique_ptr<LayerContender> MakeDenseContender(size_t width, size_t neurons, Precision precision,
                                                   const ThreadPool& pool);
std::unique_ptr<LayerContender> MakeNeuronTreeContender(const NeuronTreeShape& shape);
// `tree`, an fp32 neuron tree, always in one of its forms.
std::unique_ptr<LayerContender> MakeTreeFormContender(std::unique_ptr<LayerContender> tree, WalkForm form);
// Along paths that fixed random hyperplanes decide.
std::unique_ptr<LayerContender> MakeRandomlyRoutedContender(const NeuronTreeShape& shape);
// With weights in bf16 or int8, checked against the reference of the same roundings.
std::unique_ptr<LayerContender> MakeQuantizedTreeContender(const NeuronTreeShape& shape, Quantization precision);
std::unique_ptr<LayerContender> MakeQuantizedLeafTreeContender(const LeafTreeShape& shape, Quantization precision);
// `trees` leaf trees of the shape, side by side.
std::unique_ptr<LayerContender> MakeLeafTreeContender(const LeafTreeShape& shape, size_t trees);
std::unique_ptr<LayerContender> MakeMixtureContender(const MixtureShape& shape, const ThreadPool& pool);
std::unique_ptr<LayerContender> MakeProductKeyContender(const ProductKeyShape& shape, const ThreadPool& pool);

// Decisions of one token, on average over x [tokens, width]: best-first search computes that of every node that is
// reached with a higher probability than the last leaf that it keeps.
size_t MeanDecisions(const LeafRouterShape& shape, const LeafRouterWeights& weights, const float* x, size_t tokens);
size_t MeanDecisionsOfRandomInput(const LeafRouterShape& shape, const LeafRouterWeights& weights);

// The weights of a dense layer: act(x W_in^T + b) W_out^T.
struct DenseWeights {
  DenseWeights(size_t width, size_t neurons);
  void Reference(const float* x, size_t tokens, float* y) const;

  size_t width, neurons;
  AlignedArray<float> in, out, bias;  // [neurons, width], [width, neurons], [neurons]
};

// `count` values, uniform with variance 1 / `fan_in`, symmetric around 0, the same for the same seed. Many are drawn by
// all of the machine's threads.
AlignedArray<float> RandomWeights(size_t count, size_t fan_in, uint64_t seed);

}  // namespace grove::bench
