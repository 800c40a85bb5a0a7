// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The neurons of a dense layer arranged as the leaves of a tree, those that work for the same tokens together (after
// MoEfication, arXiv 2110.01786, which has groups but no tree).
#pragma once

#include <cstdint>

#include "grove/nn/torch_compat.h"

namespace grove::train {

// Halves the set of neurons `depth` times: each time balanced 2-means on their features, begun along the direction of
// largest variance, so that similar neurons share a leaf and similar leaves share a parent. Leaves differ by one neuron
// at most. features [neurons, features] fp32; at least one neuron a leaf. Returns the neurons of each leaf, [leaves,
// leaf_width] int64, -1 where a leaf has room left; `leaf_width` x leaves must hold all neurons.
torch::Tensor GroupNeurons(const torch::Tensor& features, int64_t depth, int64_t leaf_width);

// The control: the same shape, neurons at random.
torch::Tensor GroupAtRandom(int64_t neurons, int64_t depth, int64_t leaf_width, int64_t seed);

}  // namespace grove::train
