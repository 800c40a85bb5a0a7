// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Small feedforward layers of every kind and their derivatives by differences.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "grove/nn/feed_forward.h"

namespace grove::nn::test {

inline constexpr int64_t kWidth = 12;

struct LayerCase {
  std::string name;
  FeedForwardConfig config;
  ModuleOptions options = {};
  int64_t units_per_token = 0;  // that are visited, in training
  bool estimated = false;       // its gradient is not that of its output: straight-through
  bool random = false;          // draws numbers in training, other ones in every form

  // The plain trees have a kernel, which takes fp32 alone.
  bool has_kernel() const {
    const bool leaf = config.kind == FeedForwardKind::kLeafTree && config.gates == GateKind::kRenormalized;
    const bool neuron = config.kind == FeedForwardKind::kNeuronTree && config.routing == TreeRouting::kHard;
    return (leaf || neuron) && options.region_leak == 0 && !options.train_hardened;
  }
};

inline void PrintTo(const LayerCase& test, std::ostream* out) { *out << test.name; }

inline std::vector<LayerCase> LayerCases() {
  using enum FeedForwardKind;
  using enum NonLinearity;
  using enum TreeRouting;
  const auto probability = GateKind::kProbability;
  const FeedForwardConfig leaves{.kind = kLeafTree, .depth = 3, .leaf_width = 4, .paths = 1};
  return {
      {"dense", {.intermediate = 9}},
      {"dense_relu", {.nonlinearity = kRelu, .intermediate = 9}},
      {"dense_glu", {.nonlinearity = kGeluGlu, .intermediate = 10}},
      {"neuron_1x3", {.kind = kNeuronTree, .trees = 1, .depth = 3}, {}, 4},
      {"neuron_4x0", {.kind = kNeuronTree, .trees = 4, .depth = 0}, {}, 4},
      {"neuron_3x2_relu", {.kind = kNeuronTree, .nonlinearity = kRelu, .trees = 3, .depth = 2, .always_on = 2}, {}, 9},
      {"neuron_2x3_two_sided", {.kind = kNeuronTree, .trees = 2, .depth = 3, .two_sided = true}, {}, 8},
      {"neuron_straight_through",
       {.kind = kNeuronTree, .trees = 2, .depth = 2, .routing = kStraightThrough},
       {},
       6,
       true},
      {"neuron_random", {.kind = kNeuronTree, .trees = 2, .depth = 3, .two_sided = true, .routing = kRandom}, {}, 8},
      {"neuron_hash", {.kind = kNeuronTree, .trees = 3, .depth = 2, .routing = kTokenHash}, {}, 9},
      {"neuron_leak", {.kind = kNeuronTree, .trees = 2, .depth = 3}, {.region_leak = 0.3}, 8, false, true},
      {"neuron_hash_leak",
       {.kind = kNeuronTree, .depth = 3, .routing = kTokenHash},
       {.region_leak = 0.3},
       4,
       false,
       true},
      {"leaf_one_path", {.kind = kLeafTree, .depth = 3, .leaf_width = 5, .paths = 1}, {}, 1},
      {"leaf_three_paths", {.kind = kLeafTree, .depth = 3, .leaf_width = 5, .paths = 3, .decision_scale = 4}, {}, 3},
      {"leaf_soft", {.kind = kLeafTree, .depth = 2, .leaf_width = 3, .paths = 4}, {}, 4},
      {"leaf_depth_0", {.kind = kLeafTree, .nonlinearity = kRelu, .depth = 0, .leaf_width = 7, .paths = 1}, {}, 1},
      {"leaf_three_trees",
       {.kind = kLeafTree, .trees = 3, .depth = 2, .leaf_width = 3, .paths = 2, .always_on = 3},
       {},
       6},
      {"leaf_probability_1", {.kind = kLeafTree, .depth = 3, .leaf_width = 4, .gates = probability}, {}, 1},
      {"leaf_probability_3",
       {.kind = kLeafTree, .trees = 2, .depth = 2, .leaf_width = 3, .paths = 3, .gates = probability},
       {},
       6},
      {"leaf_train_soft", leaves, {.train_paths = 100}, 8},
      {"leaf_hardened",
       {.kind = kLeafTree, .trees = 2, .depth = 2, .leaf_width = 3},
       {.train_hardened = true},
       2,
       true},
      {"leaf_leak", {.kind = kLeafTree, .depth = 2, .leaf_width = 3, .paths = 2}, {.region_leak = 0.3}, 2, false, true},
      {"moe", {.kind = kMoe, .experts = 5, .expert_width = 3, .top_k = 2}, {}, 2},
      {"moe_probability",
       {.kind = kMoe, .nonlinearity = kRelu, .gates = probability, .experts = 6, .expert_width = 2, .top_k = 1},
       {},
       1},
      {"moe_all", {.kind = kMoe, .experts = 3, .expert_width = 4, .top_k = 3, .always_on = 4}, {}, 3},
      {"moe_noisy",
       {.kind = kMoe, .experts = 5, .expert_width = 3, .router = RouterKind::kNoisyTopK, .top_k = 2},
       {},
       2},
      {"product_key", {.kind = kProductKey, .top_k = 3, .key_heads = 2, .sub_keys = 4, .key_width = 6}, {}, 6},
      {"product_key_relu",
       {.kind = kProductKey,
        .nonlinearity = kRelu,
        .top_k = 2,
        .key_heads = 1,
        .sub_keys = 3,
        .key_width = 4,
        .always_on = 2},
       {},
       2},
  };
}

// A wide initialization: outputs and gradients of order one, and nothing left at zero.
inline std::shared_ptr<FeedForward> MakeLayer(const FeedForwardConfig& config, const ModuleOptions& options) {
  torch::manual_seed(7);
  const auto layer = MakeFeedForward({config, kWidth, /*init_std=*/0.5, options});
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : layer->parameters()) {
    if (parameter.count_nonzero().item<int64_t>() == 0) parameter.normal_(0.0, 0.5);
  }
  return layer;
}

inline torch::Tensor Ids(int64_t tokens) { return torch::arange(tokens, torch::kLong) * 37 % 101; }

// A scalar that depends on every output in its own way; the same random numbers at each call.
inline torch::Tensor Probe(FeedForward& layer, const torch::Tensor& x) {
  torch::manual_seed(5);
  const FeedForward::Output out = layer.Forward(x, Ids(x.size(0)));
  const torch::Tensor weights = torch::arange(1, out.y.numel() + 1, out.y.options()).mul(0.37).sin().view_as(out.y);
  torch::Tensor probe = (out.y * weights).sum() + 0.5 * out.y.square().sum();
  if (out.regularizer.defined()) probe = probe + out.regularizer;
  return probe;
}

inline std::vector<torch::Tensor> Variables(FeedForward& layer, const torch::Tensor& x) {
  std::vector<torch::Tensor> variables = layer.parameters();
  variables.push_back(x);
  return variables;
}

// Largest |analytic - central difference| over every element of `variables`, relative to the largest derivative of its
// tensor. function() is a scalar of them.
template <class Function>
double JacobianError(const Function& function, const std::vector<torch::Tensor>& variables, double step) {
  function().backward();
  const torch::NoGradGuard no_grad;
  double worst = 0;
  for (const torch::Tensor& variable : variables) {
    if (variable.numel() == 0) continue;
    const torch::Tensor gradient = variable.grad().defined() ? variable.grad() : torch::zeros_like(variable);
    const double scale = std::max(1.0, gradient.abs().amax().template item<double>());
    torch::Tensor flat = variable.view({-1});
    for (int64_t i = 0; i < flat.numel(); ++i) {
      const double value = flat[i].template item<double>();
      flat[i] = value + step;
      const double above = function().template item<double>();
      flat[i] = value - step;
      const double below = function().template item<double>();
      flat[i] = value;
      const double numeric = (above - below) / (2 * step);
      worst = std::max(worst, std::abs(numeric - gradient.flatten()[i].template item<double>()) / scale);
    }
  }
  return worst;
}

}  // namespace grove::nn::test
