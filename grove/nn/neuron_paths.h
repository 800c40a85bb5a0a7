// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The masked dense form of neuron trees on a GPU: two products over all nodes, and between them one kernel that walks a
// token's paths (nn/cuda/neuron_path_kernels.h). nn/neuron_tree.cc has the same as chains of tensor operations.
#pragma once

#include "grove/kernels/neuron_tree.h"
#include "grove/nn/torch_compat.h"

namespace grove::nn {

// True on a GPU under bf16 autocast.
bool CanWalkNeuronPaths(const torch::Tensor& x);

// nodes [tokens, trees x levels] int64: the nodes on the path of each tree, counted over all trees. A token turns right
// where turns > 0; turns [tokens, trees x nodes of a tree], or more columns, which are ignored.
torch::Tensor DecideNeuronPaths(const torch::Tensor& turns, const NeuronTreeShape& shape, int64_t nodes_of_tree);

// logits [tokens, columns] bf16, at least the nodes of all trees -> {act(l)} and, two-sided, {act(-l)}: zero but for
// `nodes`, in the shape of `logits`. With `straight_through` decisions, the signs of the logits, take the gradient of
// their sigmoid.
std::vector<torch::Tensor> NeuronPathActivations(const torch::Tensor& logits, const torch::Tensor& nodes,
                                                 const NeuronTreeShape& shape, bool straight_through);

}  // namespace grove::nn
