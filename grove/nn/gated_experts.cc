// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/gated_experts.h"

#include <vector>

namespace grove::nn {
namespace {

// Two products as large as a dense layer's.
torch::Tensor MaskedDense(const torch::Tensor& x, const ExpertChoice& choice, const ExpertWeights& p,
                          Activation activation) {
  const int64_t experts = p.w1s.size(0), width = p.w1s.size(1), hidden = p.w1s.size(2);
  const torch::Tensor gates =
      torch::zeros({x.size(0), experts}, choice.gates.options()).scatter(1, choice.chosen, choice.gates);
  const torch::Tensor w1 = p.w1s.transpose(1, 2).reshape({experts * hidden, width});
  const torch::Tensor h = Activate(activation, torch::linear(x, w1, p.b1s.flatten()));
  const torch::Tensor g = gates.to(h.scalar_type());
  const torch::Tensor gated = (h.view({-1, experts, hidden}) * g.unsqueeze(-1)).flatten(1);
  return torch::matmul(gated, p.w2s.view({experts * hidden, -1})) + torch::matmul(g, p.b2s);
}

// Uses sorted by expert, one small net after the other. unbind and split have backwards that gather once; a slice per
// expert would fill a gradient of the whole tensor each.
torch::Tensor Grouped(const torch::Tensor& x, const ExpertChoice& choice, const ExpertWeights& p,
                      Activation activation) {
  const int64_t experts = p.w1s.size(0), n = choice.chosen.size(1);
  const torch::Tensor uses = choice.chosen.flatten();
  const torch::Tensor order = std::get<1>(uses.sort(/*stable=*/true, /*dim=*/0, /*descending=*/false));
  const torch::Tensor counts = uses.bincount(/*weights=*/{}, experts);
  const torch::Tensor token = torch::floor_divide(order, n);
  const std::vector<int64_t> sizes(counts.data_ptr<int64_t>(), counts.data_ptr<int64_t>() + experts);
  const auto rows = x.index_select(0, token).split_with_sizes(sizes);
  const auto w1 = p.w1s.unbind(0), b1 = p.b1s.unbind(0), w2 = p.w2s.unbind(0), b2 = p.b2s.unbind(0);
  std::vector<torch::Tensor> outputs;
  for (size_t e = 0; e < sizes.size(); ++e) {
    if (sizes[e] == 0) continue;
    const torch::Tensor h = Activate(activation, torch::addmm(b1[e], rows[e], w1[e]));
    outputs.push_back(torch::addmm(b2[e], h, w2[e]));
  }
  const torch::Tensor gates = choice.gates.flatten().index_select(0, order).to(x.scalar_type());
  return torch::zeros_like(x).index_add(0, token, torch::cat(outputs) * gates.unsqueeze(1));
}

}  // namespace

ExpertWeights RegisterExperts(torch::nn::Module& module, int64_t experts, int64_t width, int64_t hidden, double std) {
  return {.w1s = module.register_parameter("w1s", NormalInit({experts, width, hidden}, std)),
          .b1s = module.register_parameter("b1s", torch::zeros({experts, hidden})),
          .w2s = module.register_parameter("w2s", NormalInit({experts, hidden, width}, std)),
          .b2s = module.register_parameter("b2s", torch::zeros({experts, width}))};
}

std::vector<UnitLayout::Parameter> ExpertParameters(const ExpertWeights& weights) {
  return {{"w1s", weights.w1s, 0}, {"b1s", weights.b1s, 0}, {"w2s", weights.w2s, 0}, {"b2s", weights.b2s, 0}};
}

torch::Tensor GatedExperts(const torch::Tensor& x, const ExpertChoice& choice, const ExpertWeights& weights,
                           Activation activation, TreeForm form) {
  const bool all = choice.chosen.size(1) == weights.w1s.size(0);
  if (form == TreeForm::kMaskedDense || all || x.size(0) == 0) return MaskedDense(x, choice, weights, activation);
  if (x.device().is_cpu()) return Grouped(x, choice, weights, activation);
  if (!CanGroupExperts(x, weights)) return MaskedDense(x, choice, weights, activation);
  return GroupedExperts(x, choice.chosen, choice.gates, weights, activation);
}

}  // namespace grove::nn
