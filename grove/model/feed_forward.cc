// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/feed_forward.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "grove/base/check.h"
#include "grove/kernels/leaf_tree.h"
#include "grove/kernels/neuron_tree.h"
#include "grove/model/dense_product.h"
#include "grove/model/row_ops.h"

namespace grove {
namespace {

using FeedForwardResult = Result<std::unique_ptr<FeedForward>>;

// act(x W_in) W_out, or (x W_value * gelu(x W_gate)) W_out: in a GLU the first half of dense_in is the value.
class DenseFeedForward : public FeedForward {
 public:
  DenseFeedForward(DenseProduct in, std::optional<DenseProduct> gate, DenseProduct out)
      : in_(std::move(in)), gate_(std::move(gate)), out_(std::move(out)) {}

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    // The neurons of so many tokens stay in the cache between the two products.
    constexpr size_t kTokens = 512;
    const size_t width = in_.shape().in, neurons = in_.shape().out;
    AlignedArray<float> hidden(std::min(tokens, kTokens) * neurons);
    AlignedArray<float> gate(gate_ ? hidden.size() : 0);
    for (size_t begin = 0; begin < tokens; begin += kTokens) {
      const size_t count = std::min(kTokens, tokens - begin);
      in_.Forward(x + begin * width, count, hidden.data(), pool);
      if (gate_) {
        gate_->Forward(x + begin * width, count, gate.data(), pool);
        pool.ParallelFor(count, 32, [&](size_t first, size_t last) {
          MultiplyInto(gate.data() + first * neurons, (last - first) * neurons, hidden.data() + first * neurons);
        });
      }
      out_.Forward(hidden.data(), count, y + begin * width, pool);
    }
  }

 private:
  DenseProduct in_;
  std::optional<DenseProduct> gate_;
  DenseProduct out_;
};

class NeuronTreeFeedForward : public FeedForward {
 public:
  explicit NeuronTreeFeedForward(PackedNeuronTree tree) : tree_(std::move(tree)) {}
  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    NeuronTreeForward(tree_, x, tokens, y, nullptr, pool);
  }

 private:
  PackedNeuronTree tree_;
};

class LeafTreeFeedForward : public FeedForward {
 public:
  explicit LeafTreeFeedForward(PackedLeafTree tree) : tree_(std::move(tree)) {}
  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    LeafTreeForward(tree_, x, tokens, y, nullptr, pool);
  }

 private:
  PackedLeafTree tree_;
};

FeedForwardResult LoadDense(const SafetensorsFile& file, const std::string& prefix, const FeedForwardConfig& config,
                            int64_t width, const ThreadPool& pool) {
  const bool glu = config.nonlinearity == NonLinearity::kGeluGlu;
  const int64_t neurons = glu ? config.intermediate / 2 : config.intermediate;
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> in,
                         file.ReadFloats(prefix + "dense_in.weight", {config.intermediate, width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> out, file.ReadFloats(prefix + "dense_out.weight", {width, neurons}));
  const DenseActivation activation =
      config.nonlinearity == NonLinearity::kRelu ? DenseActivation::kRelu : DenseActivation::kGelu;
  const DenseShape value_shape{.in = static_cast<size_t>(width),
                               .out = static_cast<size_t>(neurons),
                               .activation = glu ? DenseActivation::kNone : activation};
  std::optional<DenseProduct> gate;
  if (glu) {
    DenseShape gate_shape = value_shape;
    gate_shape.activation = DenseActivation::kGelu;
    gate.emplace(gate_shape, in.data() + neurons * width, nullptr, pool);
  }
  const DenseShape out_shape{.in = static_cast<size_t>(neurons), .out = static_cast<size_t>(width)};
  return {std::make_unique<DenseFeedForward>(DenseProduct(value_shape, in.data(), nullptr, pool), std::move(gate),
                                             DenseProduct(out_shape, out.data(), nullptr, pool))};
}

Activation TreeActivation(const FeedForwardConfig& config) {
  return config.nonlinearity == NonLinearity::kRelu ? Activation::kRelu : Activation::kGelu;
}

FeedForwardResult LoadNeuronTree(const SafetensorsFile& file, const std::string& prefix,
                                 const FeedForwardConfig& config, int64_t width) {
  const NeuronTreeShape shape{.width = static_cast<size_t>(width),
                              .trees = static_cast<size_t>(config.trees),
                              .depth = static_cast<size_t>(config.depth),
                              .activation = TreeActivation(config),
                              .two_sided = config.two_sided};
  const int64_t nodes = config.StoredNeurons();
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> in, file.ReadFloats(prefix + "linear_in.weight", {nodes, width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> bias, file.ReadFloats(prefix + "linear_in.bias", {nodes}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> out, file.ReadFloats(prefix + "linear_out.weight", {width, nodes}));
  AlignedArray<float> left;
  if (config.two_sided) {
    GROVE_ASSIGN_OR_RETURN(left, file.ReadFloats(prefix + "linear_out_left.weight", {width, nodes}));
  }
  const NeuronTreeWeights weights{in.data(), bias.data(), out.data(), left.data()};
  return {std::make_unique<NeuronTreeFeedForward>(PackedNeuronTree(shape, weights))};
}

FeedForwardResult LoadLeafTree(const SafetensorsFile& file, const std::string& prefix, const FeedForwardConfig& config,
                               int64_t width) {
  const LeafTreeShape shape{.in_width = static_cast<size_t>(width),
                            .leaf_width = static_cast<size_t>(config.leaf_width),
                            .out_width = static_cast<size_t>(width),
                            .depth = static_cast<size_t>(config.depth),
                            .paths = static_cast<size_t>(config.paths),
                            .decision_scale = static_cast<float>(config.decision_scale),
                            .activation = TreeActivation(config)};
  const int64_t leaves = int64_t{1} << config.depth, leaf = config.leaf_width;
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> nodes,
                         file.ReadFloats(prefix + "node_weights", {leaves - 1, width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> biases, file.ReadFloats(prefix + "node_biases", {leaves - 1, 1}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> w1, file.ReadFloats(prefix + "w1s", {leaves, width, leaf}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> b1, file.ReadFloats(prefix + "b1s", {leaves, leaf}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> w2, file.ReadFloats(prefix + "w2s", {leaves, leaf, width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> b2, file.ReadFloats(prefix + "b2s", {leaves, width}));
  const LeafTreeWeights weights{nodes.data(), biases.data(), w1.data(), b1.data(), w2.data(), b2.data()};
  return {std::make_unique<LeafTreeFeedForward>(PackedLeafTree(shape, weights))};
}

// Whether this engine computes such a layer as grove-train does.
bool IsComputed(const FeedForwardConfig& config) {
  switch (config.kind) {
    case FeedForwardKind::kDense:
    case FeedForwardKind::kNone:
      return true;
    case FeedForwardKind::kLeafTree:
      return config.trees == 1 && config.gates == GateKind::kRenormalized && config.always_on == 0;
    case FeedForwardKind::kMoe:
    case FeedForwardKind::kProductKey:
      return false;
    case FeedForwardKind::kNeuronTree:  // straight-through decisions differ in training only
      return (config.routing == TreeRouting::kHard || config.routing == TreeRouting::kStraightThrough) &&
             config.always_on == 0;
  }
  GROVE_CHECK(false);
}

}  // namespace

FeedForwardResult LoadFeedForward(const SafetensorsFile& file, const std::string& prefix,
                                  const FeedForwardConfig& config, int64_t width, const ThreadPool& pool) {
  if (!IsComputed(config)) {
    return Error(ErrorCode::kUnsupported, file.path() + ": the feedforward layer " + prefix + " (" +
                                              DescribeFeedForward(config) +
                                              ") is one that grove does not compute yet; grove-train does");
  }
  switch (config.kind) {
    case FeedForwardKind::kDense:
      return LoadDense(file, prefix, config, width, pool);
    case FeedForwardKind::kLeafTree:
      return LoadLeafTree(file, prefix, config, width);
    case FeedForwardKind::kNeuronTree:
      return LoadNeuronTree(file, prefix, config, width);
    case FeedForwardKind::kMoe:
    case FeedForwardKind::kNone:
    case FeedForwardKind::kProductKey:
      break;
  }
  GROVE_CHECK(false);
}

}  // namespace grove
