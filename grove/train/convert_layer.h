// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// One dense feedforward layer as a leaf tree of its own neurons.
//
//   dense    y = sum over leaves of f_i(x) + b_out,   f_i(x) = W_out[:, leaf i] act(W_in[leaf i] x + b_in[leaf i])
//   tree     y = sum over the n visited leaves of g_i (w2s_i h_i + b2s_i),   the gates g_i summing to 1
//
// Scale: w2s_i = n W_out[:, leaf i], which is right for even gates, g_i = 1/n. The gates' unevenness is a choice: all
// decisions may be multiplied by one factor, which keeps the order of leaves nearly and makes gates more or less even;
// the factor is the one of a small grid that leaves the smallest output error. Where all leaves are visited it is 0,
// and the tree computes exactly what the dense layer did.
//
// Leaves that a token does not visit count with their mean: m_i = mean of f_i over tokens that do not visit i, and
// b2s_i = b_out + sum of all m - n m_i.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "grove/nn/feed_forward.h"

namespace grove::train {

// Biases are zeros where the layer has none.
struct DenseLayer {
  torch::Tensor w_in;   // [neurons, width]
  torch::Tensor b_in;   // [neurons]
  torch::Tensor w_out;  // [width, neurons]
  torch::Tensor b_out;  // [width]
  Activation activation = Activation::kGelu;

  torch::Tensor Hidden(const torch::Tensor& x) const;   // [tokens, neurons]
  torch::Tensor Forward(const torch::Tensor& x) const;  // [tokens, width]
};

// From the layer's parameters, copied to the CPU. An error for GLU layers and for layers that are not dense.
Result<DenseLayer> DenseLayerOf(const nn::FeedForward& layer, const FeedForwardConfig& config);

struct LayerConversion {
  int64_t depth = 5, leaf_width = 0, paths = 8;
  // Neurons by co-activation ("activations"), by input weights ("weights"), whichever of these leaves the smaller
  // output error ("best"), or at "random".
  std::string grouping = "best";
  std::string routing = "learned";  // or "random"
  int64_t seed = 1;
};

struct LeafTreeLayer {
  torch::Tensor node_weights, node_biases, w1s, b1s, w2s, b2s;  // shapes: kernels/leaf_tree.h, node_biases [n, 1]
  double mass = 0;  // share of the activation mass |h_n| |W_out[:, n]| that the visited leaves hold, mean over tokens
  double sample_error = 0;  // relative, of the output on a part of x
  double gate_factor = 0;   // of the decisions, not yet in node_weights and node_biases
};

// x: the layer's inputs on real text, [tokens, width].
LeafTreeLayer ConvertLayer(const DenseLayer& dense, const torch::Tensor& x, const LayerConversion& options);

// The decision_scale for a model of these layers, their middle factor.
double DecisionScale(const std::vector<LeafTreeLayer>& layers);

// Copies the values into the parameters of a leaf tree with that decision_scale.
void FillLeafTree(const LeafTreeLayer& values, double decision_scale, nn::FeedForward& layer);

// |layer(x) - y| / |y|, norms over all tokens.
double RelativeError(nn::FeedForward& layer, const torch::Tensor& x, const torch::Tensor& y);

}  // namespace grove::train
