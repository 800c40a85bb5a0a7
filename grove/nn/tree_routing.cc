// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/tree_routing.h"

namespace grove::nn {
namespace {

torch::Tensor AtRoot(double value, const torch::Tensor& logits) {
  return torch::full({logits.size(0), logits.size(1), 1}, value, logits.options());
}

}  // namespace

torch::Tensor LogProbabilities(const torch::Tensor& logits, size_t depth) {
  const auto add = [](const torch::Tensor& a, const torch::Tensor& b) { return a + b; };
  return DownTheTree(AtRoot(0, logits), torch::log_sigmoid(-logits), torch::log_sigmoid(logits), depth, add);
}

torch::Tensor Probabilities(const torch::Tensor& logits, size_t depth) {
  const auto multiply = [](const torch::Tensor& a, const torch::Tensor& b) { return a * b; };
  const torch::Tensor right = torch::sigmoid(logits);
  return DownTheTree(AtRoot(1, logits), 1.0 - right, right, depth, multiply);
}

torch::Tensor DecidedLeaves(const torch::Tensor& logits, size_t depth) {
  const torch::Tensor right = (logits.detach() > 0).to(torch::kLong);
  torch::Tensor node = torch::zeros({logits.size(0), logits.size(1)}, right.options());
  for (size_t level = 0; level < depth; ++level) {
    node = 2 * node + 1 + right.gather(-1, node.unsqueeze(-1)).squeeze(-1);
  }
  return node - ((int64_t{1} << depth) - 1);
}

torch::Tensor StraightThroughTurns(const torch::Tensor& logits) {
  const torch::Tensor right = torch::sigmoid(logits);
  return (logits.detach() > 0).to(logits.scalar_type()) + (right - right.detach());  // the second term is exactly 0
}

torch::Tensor DecisionEntropy(const torch::Tensor& logits) {
  return torch::softplus(logits) - logits * torch::sigmoid(logits);
}

torch::Tensor LeakRegions(const torch::Tensor& logits, double probability) {
  if (probability <= 0) return logits;
  return logits * (1.0 - 2.0 * torch::empty_like(logits).bernoulli_(probability));
}

torch::Tensor BalanceLoss(const torch::Tensor& mean_p, const torch::Tensor& visited, int64_t units) {
  const torch::Tensor flat = visited.detach().flatten();
  return BalanceLossOfCounts(mean_p,
                             torch::zeros({mean_p.numel()}, mean_p.options())
                                 .scatter_add_(0, flat, torch::ones(flat.sizes(), mean_p.options())),
                             units);
}

torch::Tensor BalanceLossOfCounts(const torch::Tensor& mean_p, const torch::Tensor& visits, int64_t units) {
  return (visits * mean_p.flatten()).sum() * (static_cast<double>(units) / visits.sum().clamp_min(1));
}

double BalanceWeight(const FeedForwardConfig& config, const ModuleOptions& options) {
  if (options.balance >= 0) return options.balance;
  return config.kind == FeedForwardKind::kNeuronTree ? 0.0 : 0.01;
}

}  // namespace grove::nn
