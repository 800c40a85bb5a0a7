// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The sparse form of gated experts (the leaves of leaf trees, the experts of a mixture) on a GPU: visits are sorted by
// expert and each expert multiplies the tokens that chose it, in grouped matrix products. Its cost grows with the
// visits, tokens x paths, and not with the experts that are stored.
//
//   y[t] = sum_p gates[t, p] (act(x[t] w1s[e] + b1s[e]) w2s[e] + b2s[e])   with e = chosen[t, p]
#pragma once

#include "grove/kernels/activation.h"
#include "grove/nn/torch_compat.h"

namespace grove::nn {

struct ExpertWeights {
  torch::Tensor w1s;  // [experts, width, hidden]
  torch::Tensor b1s;  // [experts, hidden]
  torch::Tensor w2s;  // [experts, hidden, out_width]
  torch::Tensor b2s;  // [experts, out_width]
};

// True on a GPU of the Hopper generation or later, under bf16 autocast, when all widths are multiples of 8 and
// enough neurons are stored for it to be the faster form.
bool CanGroupExperts(const torch::Tensor& x, const ExpertWeights& weights);

// x [tokens, width], chosen [tokens, paths] int64, each expert at most once for a token; gates [tokens, paths] fp32.
// -> y [tokens, out_width] bf16. Gradients reach x, gates and weights.
torch::Tensor GroupedExperts(const torch::Tensor& x, const torch::Tensor& chosen, const torch::Tensor& gates,
                             const ExpertWeights& weights, Activation activation);

}  // namespace grove::nn
