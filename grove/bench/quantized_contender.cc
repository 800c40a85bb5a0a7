// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Tree layers with bf16 and int8 weights.
#include "grove/bench/layer_contender.h"
#include "grove/quant/quantized_leaf_tree.h"
#include "grove/quant/quantized_neuron_tree.h"

namespace grove::bench {
namespace {

// One hidden value that the kernels' float sums round to the next step.
constexpr double kTolerance = 1e-2;

class QuantizedTreeContender : public LayerContender {
 public:
  QuantizedTreeContender(const NeuronTreeShape& shape, Quantization precision)
      : w_in_(RandomWeights(shape.nodes() * shape.width, shape.width, 4)),
        b_in_(RandomWeights(shape.nodes(), 16, 5)),
        w_out_(RandomWeights(shape.nodes() * shape.width, shape.trees * shape.levels(), 6)),
        w_out_left_(RandomWeights(shape.two_sided ? w_out_.size() : 0, shape.trees * shape.levels(), 13)),
        tree_(shape, weights(), precision) {
    name = "neuron trees " + std::to_string(shape.trees) + "x" + std::to_string(shape.depth) +
           (shape.two_sided ? ", two-sided" : "");
    stored = shape.nodes();
    active = shape.trees * shape.levels();
    sides = shape.two_sided ? 2 : 1;
    weight_bytes = tree_.bytes();
    tolerance = kTolerance;
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    NeuronTreeForward(tree_, x, tokens, y, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override {
    QuantizedNeuronTreeReference(tree_.shape(), weights(), tree_.precision(), x, tokens, y);
  }
  void ForgetReference() override { w_in_ = {}, w_out_ = {}, w_out_left_ = {}; }

 private:
  NeuronTreeWeights weights() const { return {w_in_.data(), b_in_.data(), w_out_.data(), w_out_left_.data()}; }

  AlignedArray<float> w_in_, b_in_, w_out_, w_out_left_;
  QuantizedNeuronTree tree_;
};

class QuantizedLeafTreeContender : public LayerContender {
 public:
  QuantizedLeafTreeContender(const LeafTreeShape& shape, Quantization precision)
      : shape_(shape),
        nodes_(RandomWeights(shape.decisions() * shape.in_width, shape.in_width, 7)),
        biases_(RandomWeights(shape.decisions(), 16, 8)),
        w1_(RandomWeights(shape.leaves() * shape.in_width * shape.leaf_width, shape.in_width, 9)),
        b1_(RandomWeights(shape.leaves() * shape.leaf_width, 16, 10)),
        w2_(RandomWeights(shape.leaves() * shape.leaf_width * shape.out_width, shape.leaf_width, 11)),
        b2_(RandomWeights(shape.leaves() * shape.out_width, 16, 12)),
        tree_{QuantizedLeafRouter(shape.router(), router_weights(), precision),
              QuantizedExperts(shape.experts(), leaf_weights(), precision)} {
    name = "leaf tree, " + std::to_string(shape.leaves()) + " leaves of " + std::to_string(shape.leaf_width) + ", " +
           std::to_string(shape.paths) + (shape.paths == 1 ? " path" : " paths");
    stored = shape.leaves() * shape.leaf_width;
    active = shape.paths * shape.leaf_width;
    decisions = MeanDecisionsOfRandomInput(shape.router(), router_weights());
    weight_bytes = tree_.router.bytes() + tree_.leaves.bytes();
    tolerance = kTolerance;
  }

  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    LeafTreeForward(tree_, x, tokens, y, pool);
  }
  void Reference(const float* x, size_t tokens, float* y) const override {
    LeafTreeReference(shape_.router(), router_weights(), shape_.experts(), leaf_weights(), tree_.leaves.precision(), x,
                      tokens, y);
  }

 private:
  LeafRouterWeights router_weights() const { return {nodes_.data(), biases_.data()}; }
  ExpertsWeights leaf_weights() const { return {w1_.data(), b1_.data(), w2_.data(), b2_.data()}; }

  LeafTreeShape shape_;
  AlignedArray<float> nodes_, biases_, w1_, b1_, w2_, b2_;
  QuantizedLeafTree tree_;
};

}  // namespace

std::unique_ptr<LayerContender> MakeQuantizedTreeContender(const NeuronTreeShape& shape, Quantization precision) {
  return std::make_unique<QuantizedTreeContender>(shape, precision);
}

std::unique_ptr<LayerContender> MakeQuantizedLeafTreeContender(const LeafTreeShape& shape, Quantization precision) {
  return std::make_unique<QuantizedLeafTreeContender>(shape, precision);
}

}  // namespace grove::bench
