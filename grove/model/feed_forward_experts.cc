// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Kinds whose tokens pass a few of many small nets: leaf trees and mixtures of experts.
#include <utility>
#include <vector>

#include "grove/kernels/gated_experts.h"
#include "grove/kernels/leaf_router.h"
#include "grove/model/feed_forward_kinds.h"
#include "grove/model/mixture.h"
#include "grove/quant/quantized_leaf_tree.h"

namespace grove {
namespace {

class LeafTreeFeedForward : public FeedForward {
 public:
  LeafTreeFeedForward(PackedLeafRouter router, PackedExperts leaves)
      : router_(std::move(router)), leaves_(std::move(leaves)) {}
  void Forward(const float* x, const int32_t*, size_t tokens, float* y, Arena& arena, ThreadPool& pool) const override {
    const size_t per_token = router_.shape().leaves_per_token();
    const Arena::Scope scope(arena);
    auto* chosen = arena.Take<uint32_t>(tokens * per_token);
    auto* gates = arena.Take<float>(tokens * per_token);
    RouteLeaves(router_, x, tokens, {chosen, gates}, pool);
    GatedExpertsForward(leaves_, x, tokens, {chosen, gates, per_token}, y, pool);
  }

 private:
  PackedLeafRouter router_;
  PackedExperts leaves_;
};

// In bf16 or int8.
class NarrowLeafTreeFeedForward : public FeedForward {
 public:
  explicit NarrowLeafTreeFeedForward(QuantizedLeafTree tree) : tree_(std::move(tree)) {}
  void Forward(const float* x, const int32_t*, size_t tokens, float* y, Arena&, ThreadPool& pool) const override {
    LeafTreeForward(tree_, x, tokens, y, pool);
  }

 private:
  QuantizedLeafTree tree_;
};

class MoeFeedForward : public FeedForward {
 public:
  explicit MoeFeedForward(Mixture mixture) : mixture_(std::move(mixture)) {}
  void Forward(const float* x, const int32_t*, size_t tokens, float* y, Arena&, ThreadPool& pool) const override {
    mixture_.Forward(x, tokens, y, pool);
  }

 private:
  Mixture mixture_;
};

// "w1s", "b1s", "w2s", "b2s".
struct StoredExperts {
  ExpertsShape shape;
  Weights w1, w2;
  AlignedArray<float> b1, b2;
  ExpertsWeights weights() const { return {w1.fp32.data(), b1.data(), w2.fp32.data(), b2.data()}; }  // of fp32
  QuantizedExpertsWeights narrow() const { return {w1.view(), b1.data(), w2.view(), b2.data()}; }
};

Result<StoredExperts> ReadExperts(const FeedForwardSource& source, int64_t experts, int64_t hidden,
                                  Precision precision) {
  const int64_t width = source.width;
  StoredExperts stored;
  stored.shape = {.experts = static_cast<size_t>(experts),
                  .in_width = static_cast<size_t>(width),
                  .hidden_width = static_cast<size_t>(hidden),
                  .out_width = static_cast<size_t>(width),
                  .activation = KernelActivation(source.config)};
  const auto weights = [&](const char* name, int64_t depth, int64_t columns) {
    return ReadWeights(source.parameters, source.names.prefix + name, {.shape = {experts, depth, columns}}, precision);
  };
  GROVE_ASSIGN_OR_RETURN(stored.w1, weights("w1s", width, hidden));
  GROVE_ASSIGN_OR_RETURN(stored.b1, source.Read("b1s", {experts, hidden}));
  GROVE_ASSIGN_OR_RETURN(stored.w2, weights("w2s", hidden, width));
  GROVE_ASSIGN_OR_RETURN(stored.b2, source.Read("b2s", {experts, width}));
  return stored;
}

}  // namespace

FeedForwardResult LoadLeafTree(const FeedForwardSource& source) {
  const FeedForwardConfig& config = source.config;
  const LeafRouterShape shape{.width = static_cast<size_t>(source.width),
                              .trees = static_cast<size_t>(config.trees),
                              .depth = static_cast<size_t>(config.depth),
                              .paths = static_cast<size_t>(config.paths),
                              .decision_scale = static_cast<float>(config.decision_scale),
                              .gates = KernelGates(config)};
  const int64_t leaves = config.trees << config.depth, decisions = leaves - config.trees;
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> nodes, source.Read("node_weights", {decisions, source.width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> biases, source.Read("node_biases", {decisions, 1}));
  GROVE_ASSIGN_OR_RETURN(const StoredExperts stored, ReadExperts(source, leaves, config.leaf_width, source.precision));
  const LeafRouterWeights weights{nodes.data(), biases.data()};
  if (source.precision == Precision::kFp32) {
    return {std::make_unique<LeafTreeFeedForward>(PackedLeafRouter(shape, weights),
                                                  PackedExperts(stored.shape, stored.weights()))};
  }
  const Quantization precision = QuantizationOf(source.precision);
  return {std::make_unique<NarrowLeafTreeFeedForward>(QuantizedLeafTree{
      QuantizedLeafRouter(shape, weights, precision), QuantizedExperts(stored.shape, stored.narrow(), precision)})};
}

// At inference both routers score alike: the noise of noisy_top_k is training's.
FeedForwardResult LoadMoe(const FeedForwardSource& source) {
  const FeedForwardConfig& config = source.config;
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> router,
                         source.Read("router.weight", {config.experts, source.width}));
  GROVE_ASSIGN_OR_RETURN(const StoredExperts stored,
                         ReadExperts(source, config.experts, config.expert_width, Precision::kFp32));
  const MixtureShape shape{
      .experts = stored.shape, .per_token = static_cast<size_t>(config.top_k), .gates = KernelGates(config)};
  return {std::make_unique<MoeFeedForward>(Mixture(shape, {router.data(), stored.weights()}, source.pool))};
}

}  // namespace grove
