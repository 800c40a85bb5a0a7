// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What mixtures of experts and leaf trees do once a router has chosen: every token passes through n of E small nets.
//
//   y[t] = sum over j of gates[t, j] f_e(x[t]), e = chosen[t, j];   f_e(x) = act(x W1_e + b1_e) W2_e + b2_e
//
//   const ExpertWeights experts = RegisterExperts(*this, 32, width, 128, init_std);
//   y = GatedExperts(x, {chosen, gates}, experts, Activation::kGelu, form);
//
// Forms: masked dense computes every expert for every token (any device); grouped sorts the tokens by expert and
// computes what is used: here for CPUs, in grouped_experts.h for GPUs.
#pragma once

#include "grove/kernels/activation.h"
#include "grove/nn/feed_forward.h"
#include "grove/nn/grouped_experts.h"

namespace grove::nn {

struct ExpertChoice {
  torch::Tensor chosen;  // [tokens, n] int64, no expert twice in a row
  torch::Tensor gates;   // [tokens, n], with their gradients
};

// Registers w1s, b1s, w2s, b2s in `module`: weights normal(std), biases 0.
ExpertWeights RegisterExperts(torch::nn::Module& module, int64_t experts, int64_t width, int64_t hidden, double std);
// They belong to units, for UnitLayout::parameters.
std::vector<UnitLayout::Parameter> ExpertParameters(const ExpertWeights& weights);

// x [tokens, width] -> [tokens, width].
torch::Tensor GatedExperts(const torch::Tensor& x, const ExpertChoice& choice, const ExpertWeights& weights,
                           Activation activation, TreeForm form);

}  // namespace grove::nn
