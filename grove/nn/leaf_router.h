// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The router of leaf trees on a GPU as one operation with a gradient (nn/cuda/leaf_router_kernels.h). nn/leaf_tree.cc
// has the same steps as chains of tensor operations, for everything else.
#pragma once

#include <cstddef>

#include "grove/nn/torch_compat.h"

namespace grove::nn {

struct LeafRouterShape {
  int64_t trees;
  size_t depth;
  int64_t paths;
  double scale;      // P(right) = sigmoid(scale x logit)
  bool renormalize;  // gates p / sum of the chosen p, or p

  int64_t leaves() const { return int64_t{1} << depth; }
  int64_t decisions() const { return trees * (leaves() - 1); }
};

struct LeafRoutes {
  torch::Tensor chosen;  // [tokens, trees x paths] int64, leaves counted over all trees
  torch::Tensor gates;   // [tokens, trees x paths] fp32
  torch::Tensor mean_p;  // [trees x leaves] fp32, the mean over the tokens of a leaf's probability
  torch::Tensor visits;  // [trees x leaves] fp32, how many tokens chose the leaf
};

// True on a GPU under bf16 autocast, for trees that are not too deep.
bool CanRouteLeaves(const torch::Tensor& x, const LeafRouterShape& shape);

// x [tokens, width], node_weights [decisions, width], node_biases [decisions, 1]. Gradients reach all three, through
// the gates and through mean_p. logits, if not null: [tokens, trees, decisions of a tree] bf16, not scaled, with
// gradient.
LeafRoutes RouteLeaves(const torch::Tensor& x, const torch::Tensor& node_weights, const torch::Tensor& node_biases,
                       const LeafRouterShape& shape, torch::Tensor* logits);

}  // namespace grove::nn
