// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Decisions of a leaf tree learnt from examples: which leaves matter for which tokens.
#pragma once

#include <cstdint>

#include "grove/nn/torch_compat.h"

namespace grove::train {

struct LeafDecisions {
  torch::Tensor weights;  // [2^depth - 1, width]
  torch::Tensor biases;   // [2^depth - 1]

  torch::Tensor Logits(const torch::Tensor& x) const { return torch::linear(x, weights, biases); }
};

// The decisions under which a leaf's probability comes closest to its share, sum over leaves of -share log p: since p
// is a product, this is one logistic regression per node, each token weighted by the share that reaches the node and
// asked for the part of it that lies to the right. x [tokens, width]; shares [tokens, leaves], rows that sum to 1.
LeafDecisions LearnDecisions(const torch::Tensor& x, const torch::Tensor& shares);

// The control: hyperplanes at random through the mean of x.
LeafDecisions RandomDecisions(const torch::Tensor& x, int64_t depth, int64_t seed);

// log p of every leaf, [tokens, leaves], from logits [tokens, decisions].
torch::Tensor LeafLogProbabilities(const torch::Tensor& logits);

// The gates of the layer's forward pass (kernels/leaf_tree.h), 0 where a leaf is not visited, [tokens, leaves].
torch::Tensor LeafGates(const torch::Tensor& logits, int64_t paths);

}  // namespace grove::train
