// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <optional>
#include <utility>
#include <vector>

#include "grove/base/check.h"
#include "grove/kernels/leaf_router.h"
#include "grove/kernels/neuron_tree.h"
#include "grove/kernels/token_path.h"
#include "grove/model/feed_forward_kinds.h"
#include "grove/quant/quantized_neuron_tree.h"

namespace grove {
namespace {

// The nodes' own logits decide, as published. Straight-through decisions differ in training only.
class NeuronTreeFeedForward : public FeedForward {
 public:
  explicit NeuronTreeFeedForward(PackedNeuronTree tree) : tree_(std::move(tree)) {}
  void Forward(const float* x, const int32_t*, size_t tokens, float* y, Arena&, ThreadPool& pool) const override {
    NeuronTreeForward(tree_, x, tokens, y, nullptr, pool);
  }

 private:
  PackedNeuronTree tree_;
};

// The same in bf16 or int8.
class QuantizedTreeFeedForward : public FeedForward {
 public:
  explicit QuantizedTreeFeedForward(QuantizedNeuronTree tree) : tree_(std::move(tree)) {}
  void Forward(const float* x, const int32_t*, size_t tokens, float* y, Arena&, ThreadPool& pool) const override {
    NeuronTreeForward(tree_, x, tokens, y, pool);
  }

 private:
  QuantizedNeuronTree tree_;
};

// Fixed hyperplanes decide: a leaf router of one path whose leaves are the bottom of the neuron trees.
class PlaneRoutedFeedForward : public FeedForward {
 public:
  PlaneRoutedFeedForward(PackedNeuronTree tree, PackedLeafRouter planes)
      : tree_(std::move(tree)), planes_(std::move(planes)) {}
  void Forward(const float* x, const int32_t*, size_t tokens, float* y, Arena& arena, ThreadPool& pool) const override {
    const Arena::Scope scope(arena);
    auto* ends = arena.Take<uint32_t>(tokens * tree_.shape().trees);
    auto* gates = arena.Take<float>(tokens * tree_.shape().trees);  // all 1
    RouteLeaves(planes_, x, tokens, {ends, gates}, pool);
    NeuronTreeForwardAlong(tree_, x, tokens, ends, y, pool);
  }

 private:
  PackedNeuronTree tree_;
  PackedLeafRouter planes_;
};

// A hash of the token's id decides.
class HashRoutedFeedForward : public FeedForward {
 public:
  HashRoutedFeedForward(PackedNeuronTree tree, int64_t seed, int64_t layer) : tree_(std::move(tree)) {
    for (size_t k = 0; k < tree_.shape().trees; ++k) keys_.push_back(TreeKey(seed, layer, static_cast<int64_t>(k)));
  }
  void Forward(const float* x, const int32_t* ids, size_t tokens, float* y, Arena& arena,
               ThreadPool& pool) const override {
    const size_t depth = tree_.shape().depth, trees = keys_.size();
    const Arena::Scope scope(arena);
    auto* ends = arena.Take<uint32_t>(tokens * trees);
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t k = 0; k < trees; ++k) {
        ends[t * trees + k] = static_cast<uint32_t>(k << depth) + TokenPathEnd(TokenPath(keys_[k], ids[t]), depth);
      }
    }
    NeuronTreeForwardAlong(tree_, x, tokens, ends, y, pool);
  }

 private:
  PackedNeuronTree tree_;
  std::vector<uint64_t> keys_;  // [trees]
};

FeedForwardResult LoadPlaneRouted(const FeedForwardSource& source, PackedNeuronTree tree) {
  const NeuronTreeShape& shape = tree.shape();
  const LeafRouterShape router{.width = shape.width, .trees = shape.trees, .depth = shape.depth};
  const auto planes = static_cast<int64_t>(shape.trees * router.decisions());
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> weights, source.Read("decision_planes", {planes, source.width}));
  const AlignedArray<float> through_the_origin(static_cast<size_t>(planes));
  PackedLeafRouter packed(router, {weights.data(), through_the_origin.data()});
  return {std::make_unique<PlaneRoutedFeedForward>(std::move(tree), std::move(packed))};
}

}  // namespace

FeedForwardResult LoadNeuronTree(const FeedForwardSource& source) {
  const FeedForwardConfig& config = source.config;
  const NeuronTreeShape shape{.width = static_cast<size_t>(source.width),
                              .trees = static_cast<size_t>(config.trees),
                              .depth = static_cast<size_t>(config.depth),
                              .activation = KernelActivation(config),
                              .two_sided = config.two_sided};
  const int64_t width = source.width, nodes = static_cast<int64_t>(shape.nodes());
  const Precision precision = HasLowPrecision(config) ? source.precision : Precision::kFp32;
  const auto read = [&](const char* name, const WeightsLayout& layout) {
    return ReadWeights(source.parameters, source.names.prefix + name, layout, precision);
  };
  const WeightsLayout out_layout{.shape = {width, nodes}, .depth = 0};  // a scale for each node
  GROVE_ASSIGN_OR_RETURN(const Weights in, read("linear_in.weight", {.shape = {nodes, width}}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> bias, source.Read("linear_in.bias", {nodes}));
  GROVE_ASSIGN_OR_RETURN(const Weights out, read("linear_out.weight", out_layout));
  Weights left;
  if (config.two_sided) {
    GROVE_ASSIGN_OR_RETURN(left, read("linear_out_left.weight", out_layout));
  }
  if (precision != Precision::kFp32) {
    const QuantizedTreeWeights narrow{in.view(), bias.data(), out.view(), left.view()};
    return {std::make_unique<QuantizedTreeFeedForward>(QuantizedNeuronTree(shape, narrow, QuantizationOf(precision)))};
  }
  const NeuronTreeWeights weights{in.fp32.data(), bias.data(), out.fp32.data(), left.fp32.data()};
  PackedNeuronTree tree(shape, weights);
  switch (config.routing) {
    case TreeRouting::kHard:
    case TreeRouting::kStraightThrough:
      return {std::make_unique<NeuronTreeFeedForward>(std::move(tree))};
    case TreeRouting::kRandom:
      return LoadPlaneRouted(source, std::move(tree));
    case TreeRouting::kTokenHash:
      return {std::make_unique<HashRoutedFeedForward>(std::move(tree), config.routing_seed, source.layer)};
  }
  GROVE_CHECK(false);
}

}  // namespace grove
