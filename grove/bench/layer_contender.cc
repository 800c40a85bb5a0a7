// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/layer_contender.h"

#include <cmath>
#include <random>

#include "grove/kernels/leaf_tree.h"
#include "grove/kernels/neuron_tree.h"
#include "grove/model/dense_product.h"

namespace grove::bench {
namespace {

// Dense: act(x W1^T + b1) W2^T, as the layers of crammedBERT have it (bias on the way in, none on the way out).
class DenseContender : public LayerContender {
 public:
  DenseContender(size_t width, size_t neurons, const ThreadPool& pool)
      : width_(width),
        neurons_(neurons),
        w_in_(RandomWeights(neurons * width, width, 1)),
        w_out_(RandomWeights(width * neurons, neurons, 2)),
        bias_(RandomWeights(neurons, 4, 3)),
        in_({.in = width, .out = neurons, .activation = DenseActivation::kGelu}, w_in_.data(), bias_.data(), pool),
        out_({.in = neurons, .out = width}, w_out_.data(), nullptr, pool) {
    name = "dense " + std::to_string(neurons);
    dense = true;
    stored = active = neurons;
    weight_bytes = (2 * width + 1) * neurons * sizeof(float);
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    if (hidden_.size() < tokens * neurons_) hidden_ = AlignedArray<float>(tokens * neurons_);
    in_.Forward(x, tokens, hidden_.data(), pool);
    out_.Forward(hidden_.data(), tokens, y, pool);
  }

  void Reference(const float* x, size_t tokens, float* y) const override {
    std::vector<double> hidden(neurons_);
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t n = 0; n < neurons_; ++n) {
        double logit = bias_[n];
        for (size_t i = 0; i < width_; ++i) logit += double{w_in_[n * width_ + i]} * x[t * width_ + i];
        hidden[n] = Activate(Activation::kGelu, logit);
      }
      for (size_t i = 0; i < width_; ++i) {
        double sum = 0;
        for (size_t n = 0; n < neurons_; ++n) sum += w_out_[i * neurons_ + n] * hidden[n];
        y[t * width_ + i] = static_cast<float>(sum);
      }
    }
  }

 private:
  size_t width_, neurons_;
  std::vector<float> w_in_, w_out_, bias_;
  DenseProduct in_, out_;
  mutable AlignedArray<float> hidden_;  // kept between calls, as an engine would
};

class NeuronTreeContender : public LayerContender {
 public:
  explicit NeuronTreeContender(const NeuronTreeShape& shape)
      : w_in_(RandomWeights(shape.nodes() * shape.width, shape.width, 4)),
        b_in_(RandomWeights(shape.nodes(), 16, 5)),
        w_out_(RandomWeights(shape.nodes() * shape.width, shape.trees * shape.levels(), 6)),
        packed_(shape, weights()) {
    name = "neuron trees " + std::to_string(shape.trees) + "x" + std::to_string(shape.depth);
    stored = shape.nodes();
    active = shape.trees * shape.levels();
    weight_bytes = packed_.bytes();
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    NeuronTreeForward(packed_, x, tokens, y, nullptr, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override {
    NeuronTreeForwardReference(packed_.shape(), weights(), x, tokens, y, nullptr);
  }

 private:
  NeuronTreeWeights weights() const { return {w_in_.data(), b_in_.data(), w_out_.data(), nullptr}; }
  std::vector<float> w_in_, b_in_, w_out_;
  PackedNeuronTree packed_;
};

// Decisions that best-first search computes for n paths: the distinct inner nodes above the chosen leaves are a lower
// bound, and with random weights the search wastes little; counted here from the routes of random tokens.
size_t MeanDecisions(const PackedLeafTree& packed) {
  const LeafTreeShape& shape = packed.shape();
  if (shape.paths == 1) return shape.depth;
  constexpr size_t kTokens = 64;
  const std::vector<float> x = RandomWeights(kTokens * shape.in_width, 1, 99);
  std::vector<float> y(kTokens * shape.out_width), gates(kTokens * shape.paths);
  std::vector<uint32_t> leaves(gates.size());
  const LeafTreeTrace trace{leaves.data(), gates.data()};
  ThreadPool pool(1);
  LeafTreeForward(packed, x.data(), kTokens, y.data(), &trace, pool);
  size_t visited = 0;
  for (size_t t = 0; t < kTokens; ++t) {
    std::vector<bool> seen(shape.decisions());
    for (size_t s = 0; s < shape.paths; ++s) {
      for (size_t node = shape.decisions() + leaves[t * shape.paths + s]; node > 0;) {
        node = (node - 1) / 2;
        visited += seen[node] ? 0 : 1;
        seen[node] = true;
      }
    }
  }
  return (visited + kTokens / 2) / kTokens;
}

class LeafTreeContender : public LayerContender {
 public:
  explicit LeafTreeContender(const LeafTreeShape& shape)
      : node_weights_(RandomWeights(shape.decisions() * shape.in_width, shape.in_width, 7)),
        node_biases_(RandomWeights(shape.decisions(), 16, 8)),
        w1_(RandomWeights(shape.leaves() * shape.in_width * shape.leaf_width, shape.in_width, 9)),
        b1_(RandomWeights(shape.leaves() * shape.leaf_width, 16, 10)),
        w2_(RandomWeights(shape.leaves() * shape.leaf_width * shape.out_width, shape.leaf_width, 11)),
        b2_(RandomWeights(shape.leaves() * shape.out_width, 16, 12)),
        packed_(shape, weights()) {
    name = "leaf tree, " + std::to_string(shape.leaves()) + " leaves of " + std::to_string(shape.leaf_width) + ", " +
           std::to_string(shape.paths) + (shape.paths == 1 ? " path" : " paths");
    stored = shape.leaves() * shape.leaf_width;
    active = shape.paths * shape.leaf_width;
    decisions = MeanDecisions(packed_);
    weight_bytes = packed_.bytes();
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    LeafTreeForward(packed_, x, tokens, y, nullptr, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override {
    LeafTreeForwardReference(packed_.shape(), weights(), x, tokens, y, nullptr);
  }

 private:
  LeafTreeWeights weights() const {
    return {node_weights_.data(), node_biases_.data(), w1_.data(), b1_.data(), w2_.data(), b2_.data()};
  }
  std::vector<float> node_weights_, node_biases_, w1_, b1_, w2_, b2_;
  PackedLeafTree packed_;
};

}  // namespace

double LayerContender::FlopsPerToken(size_t width) const {
  return 4.0 * static_cast<double>(width * active) + 2.0 * static_cast<double>(width * decisions);
}

std::vector<float> RandomWeights(size_t count, size_t fan_in, uint64_t seed) {
  std::mt19937_64 rng(seed);
  const float scale = std::sqrt(3.0f / static_cast<float>(fan_in));  // uniform with variance 1 / fan_in
  std::vector<float> values(count);
  for (float& v : values) v = scale * (static_cast<float>(rng() >> 40) * 0x1p-23f - 1.0f);
  return values;
}

std::unique_ptr<LayerContender> MakeDenseContender(size_t width, size_t neurons, const ThreadPool& pool) {
  return std::make_unique<DenseContender>(width, neurons, pool);
}

std::unique_ptr<LayerContender> MakeNeuronTreeContender(size_t width, size_t trees, size_t depth) {
  return std::make_unique<NeuronTreeContender>(NeuronTreeShape{.width = width, .trees = trees, .depth = depth});
}

std::unique_ptr<LayerContender> MakeLeafTreeContender(size_t width, size_t depth, size_t leaf_width, size_t paths) {
  return std::make_unique<LeafTreeContender>(
      LeafTreeShape{.in_width = width, .leaf_width = leaf_width, .out_width = width, .depth = depth, .paths = paths});
}

}  // namespace grove::bench
