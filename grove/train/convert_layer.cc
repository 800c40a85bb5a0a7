// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/convert_layer.h"

#include <algorithm>
#include <vector>

#include "grove/base/check.h"
#include "grove/train/leaf_decisions.h"
#include "grove/train/neuron_groups.h"

namespace grove::train {
namespace {

constexpr int64_t kGroupingTokens = 4096;  // features of a neuron when grouped by co-activation
constexpr int64_t kFactorTokens = 2048;    // on which the gates' factor is chosen
constexpr double kFactors[] = {1.0 / 256, 1.0 / 64, 1.0 / 16, 1.0 / 8, 1.0 / 4, 1.0 / 2, 1.0, 2.0};

// The first `count` rows at even distances.
torch::Tensor SomeRows(const torch::Tensor& x, int64_t count) {
  if (x.size(0) <= count) return x;
  return x.index_select(0, (torch::arange(count, torch::kLong) * x.size(0)).floor_divide(count));
}

// |h_n| |W_out[:, n]|: how much neuron n adds to a token's output. [tokens, neurons]
torch::Tensor Mass(const DenseLayer& dense, const torch::Tensor& hidden) {
  return hidden.abs() * dense.w_out.norm(2, 0);
}

torch::Tensor Group(const DenseLayer& dense, const torch::Tensor& x, const LayerConversion& options) {
  if (options.grouping == "random") {
    return GroupAtRandom(dense.w_in.size(0), options.depth, options.leaf_width, options.seed);
  }
  torch::Tensor features = dense.w_in;
  if (options.grouping == "activations") {
    features = Mass(dense, dense.Hidden(SomeRows(x, kGroupingTokens))).t();
  }
  // Correlations, not sizes, decide: without this the large neurons would be one group and the small ones the other.
  features = features - features.mean(1, /*keepdim=*/true);
  features = features / features.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
  return GroupNeurons(features, options.depth, options.leaf_width);
}

// The neurons leaf by leaf, with an extra one of zeros in the place of empty slots.
class Leaves {
 public:
  Leaves(const DenseLayer& dense, const torch::Tensor& groups)
      : shape_(groups.sizes().vec()), empty_(groups.flatten() < 0), slots_(groups.flatten().clamp_min(0)) {
    w_in_ = dense.w_in.index_select(0, slots_).masked_fill(empty_.unsqueeze(1), 0.0);
    b_in_ = dense.b_in.index_select(0, slots_).masked_fill(empty_, 0.0);
    w_out_ = dense.w_out.index_select(1, slots_).masked_fill(empty_, 0.0);
  }

  int64_t leaves() const { return shape_[0]; }
  const torch::Tensor& w_in() const { return w_in_; }
  const torch::Tensor& b_in() const { return b_in_; }
  const torch::Tensor& w_out() const { return w_out_; }
  const torch::Tensor& empty() const { return empty_; }

  // [tokens, neurons] -> [tokens, leaves x leaf_width], 0 in empty slots
  torch::Tensor Arrange(const torch::Tensor& of_neurons) const {
    return of_neurons.index_select(1, slots_).masked_fill(empty_, 0.0);
  }
  torch::Tensor ByLeaf(const torch::Tensor& of_slots) const {
    return of_slots.view({of_slots.size(0), shape_[0], shape_[1]});
  }

 private:
  std::vector<int64_t> shape_;
  torch::Tensor empty_, slots_;  // [leaves x leaf_width]
  torch::Tensor w_in_, b_in_, w_out_;
};

// m_i: mean output of each leaf over the tokens that do not visit it, [leaves, width]; 0 for a leaf all tokens visit.
torch::Tensor MeanOutputs(const Leaves& leaves, const torch::Tensor& hidden, const torch::Tensor& gates) {
  const torch::Tensor absent = (gates == 0).to(torch::kFloat);  // [tokens, leaves]
  const torch::Tensor sums = (leaves.ByLeaf(hidden) * absent.unsqueeze(-1)).sum(0);
  const torch::Tensor means = sums / absent.sum(0).clamp_min(1.0).unsqueeze(1);  // [leaves, leaf_width]
  return torch::einsum("lh,wlh->lw", {means, leaves.w_out().view({-1, means.size(0), means.size(1)})});
}

// [leaves, width]
torch::Tensor OutputBiases(const DenseLayer& dense, const torch::Tensor& means, int64_t paths) {
  return dense.b_out + means.sum(0) - static_cast<double>(paths) * means;
}

// What the tree computes, from the neurons' values `hidden` [tokens, slots].
torch::Tensor TreeOutput(const DenseLayer& dense, const Leaves& leaves, const torch::Tensor& hidden,
                         const torch::Tensor& gates, int64_t paths) {
  const torch::Tensor means = MeanOutputs(leaves, hidden, gates);
  const torch::Tensor gated = (leaves.ByLeaf(hidden) * gates.unsqueeze(-1)).flatten(1) * static_cast<double>(paths);
  return torch::matmul(gated, leaves.w_out().t()) + torch::matmul(gates, OutputBiases(dense, means, paths));
}

struct Factor {
  double value = 0, error = 0;  // error: relative, of the layer's output
};
Factor ChooseFactor(const DenseLayer& dense, const Leaves& leaves, const LeafDecisions& decisions,
                    const torch::Tensor& sample, int64_t paths) {
  if (paths == leaves.leaves()) return {};
  const torch::Tensor x = SomeRows(sample, kFactorTokens);
  const torch::Tensor hidden = dense.Hidden(x), logits = decisions.Logits(x), arranged = leaves.Arrange(hidden);
  const torch::Tensor y = torch::linear(hidden, dense.w_out, dense.b_out);
  Factor best;
  for (const double factor : kFactors) {
    if (paths == 1 && factor != 1.0) continue;  // the gate is 1 whatever the factor
    const torch::Tensor output = TreeOutput(dense, leaves, arranged, LeafGates(logits * factor, paths), paths);
    const double error = ((output - y).norm() / y.norm().clamp_min(1e-12)).item<double>();
    if (best.value == 0 || error < best.error) best = {factor, error};
  }
  return best;
}

}  // namespace

torch::Tensor DenseLayer::Hidden(const torch::Tensor& x) const {
  return nn::Activate(activation, torch::linear(x, w_in, b_in));
}
torch::Tensor DenseLayer::Forward(const torch::Tensor& x) const { return torch::linear(Hidden(x), w_out, b_out); }

Result<DenseLayer> DenseLayerOf(const nn::FeedForward& layer, const FeedForwardConfig& config) {
  if (config.kind != FeedForwardKind::kDense || config.nonlinearity == NonLinearity::kGeluGlu) {
    return Error(ErrorCode::kUnsupported, "its feedforward layers are \"" + DescribeFeedForward(config) +
                                              "\"; only dense layers without GLU can be converted");
  }
  const auto parameters = layer.named_parameters();
  const auto copy = [&](const char* name) {
    const torch::Tensor* found = parameters.find(name);
    return found == nullptr ? torch::Tensor() : found->detach().to(torch::kCPU, torch::kFloat).clone();
  };
  DenseLayer dense{copy("dense_in.weight"), copy("dense_in.bias"), copy("dense_out.weight"), copy("dense_out.bias"),
                   nn::KernelActivation(config.nonlinearity)};
  GROVE_CHECK(dense.w_in.defined() && dense.w_out.defined());
  if (!dense.b_in.defined()) dense.b_in = torch::zeros({dense.w_in.size(0)});
  if (!dense.b_out.defined()) dense.b_out = torch::zeros({dense.w_out.size(0)});
  return dense;
}

LeafTreeLayer ConvertLayer(const DenseLayer& dense, const torch::Tensor& x, const LayerConversion& options) {
  if (options.grouping == "best") {
    LayerConversion one = options, other = options;
    one.grouping = "activations";
    other.grouping = "weights";
    LeafTreeLayer a = ConvertLayer(dense, x, one), b = ConvertLayer(dense, x, other);
    return b.sample_error < a.sample_error ? b : a;
  }
  const int64_t leaf_count = int64_t{1} << options.depth, width = dense.w_in.size(1), leaf_width = options.leaf_width;
  GROVE_CHECK(leaf_count * leaf_width >= dense.w_in.size(0) && leaf_count <= dense.w_in.size(0));
  LeafDecisions decisions;
  const Leaves leaves = [&] {
    const torch::NoGradGuard no_grad;
    return Leaves(dense, Group(dense, x, options));
  }();
  torch::Tensor hidden, mass;
  {
    const torch::NoGradGuard no_grad;
    const torch::Tensor of_neurons = dense.Hidden(x);
    mass = leaves.ByLeaf(leaves.Arrange(Mass(dense, of_neurons))).sum(2);  // [tokens, leaves]
    mass = mass / mass.sum(1, /*keepdim=*/true).clamp_min(1e-12);
    hidden = leaves.Arrange(of_neurons);
  }
  decisions = options.routing == "random" ? RandomDecisions(x, options.depth, options.seed) : LearnDecisions(x, mass);
  const torch::NoGradGuard no_grad;
  LeafTreeLayer tree;
  const Factor factor = ChooseFactor(dense, leaves, decisions, x, options.paths);
  tree.gate_factor = factor.value;
  tree.sample_error = factor.error;
  tree.node_weights = decisions.weights;
  tree.node_biases = decisions.biases.unsqueeze(1);
  const torch::Tensor gates = LeafGates(decisions.Logits(x) * tree.gate_factor, options.paths);
  tree.mass = (mass * (gates > 0)).sum(1).mean().item<double>();
  // An empty slot gets an input row that healing can use; its output row is 0.
  const torch::Tensor spare = torch::randn_like(leaves.w_in()) * dense.w_in.std();
  const torch::Tensor w_in = torch::where(leaves.empty().unsqueeze(1), spare, leaves.w_in());
  tree.w1s = w_in.view({leaf_count, leaf_width, width}).transpose(1, 2).contiguous();
  tree.b1s = leaves.b_in().view({leaf_count, leaf_width});
  tree.w2s = leaves.w_out().t().contiguous().view({leaf_count, leaf_width, width}) * static_cast<double>(options.paths);
  tree.b2s = OutputBiases(dense, MeanOutputs(leaves, hidden, gates), options.paths);
  return tree;
}

double DecisionScale(const std::vector<LeafTreeLayer>& layers) {
  std::vector<double> factors;
  for (const LeafTreeLayer& layer : layers) {
    if (layer.gate_factor > 0) factors.push_back(layer.gate_factor);
  }
  if (factors.empty()) return 1.0;
  std::sort(factors.begin(), factors.end());
  return factors[factors.size() / 2];
}

void FillLeafTree(const LeafTreeLayer& values, double decision_scale, nn::FeedForward& layer) {
  const torch::NoGradGuard no_grad;
  const double factor = values.gate_factor / decision_scale;
  auto parameters = layer.named_parameters();
  parameters["node_weights"].copy_(values.node_weights * factor);
  parameters["node_biases"].copy_(values.node_biases * factor);
  parameters["w1s"].copy_(values.w1s);
  parameters["b1s"].copy_(values.b1s);
  parameters["w2s"].copy_(values.w2s);
  parameters["b2s"].copy_(values.b2s);
}

double RelativeError(nn::FeedForward& layer, const torch::Tensor& x, const torch::Tensor& y) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor out = layer.Forward(x).y.to(torch::kFloat);
  return ((out - y).norm() / y.norm().clamp_min(1e-12)).item<double>();
}

}  // namespace grove::train
