// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/leaf_decisions.h"

#include <cmath>

namespace grove::train {
namespace {

constexpr double kRidge = 1e-4;  // times |w|^2 of standardized inputs: nothing is learnt from directions without spread

// 1 where leaf `column` lies to the right (left) of node `row`, [decisions, leaves].
torch::Tensor SideOfNode(int64_t leaves, bool right) {
  const torch::Tensor side = torch::zeros({leaves - 1, leaves});
  auto at = side.accessor<float, 2>();
  for (int64_t leaf = 0; leaf < leaves; ++leaf) {
    // Leaves are the last level of a breadth-first tree.
    for (int64_t node = leaf + leaves - 1; node > 0; node = (node - 1) / 2) {
      const bool turned_right = node % 2 == 0;
      if (turned_right == right) at[(node - 1) / 2][leaf] = 1.0f;
    }
  }
  return side;
}

}  // namespace

torch::Tensor LeafLogProbabilities(const torch::Tensor& logits) {
  const int64_t leaves = logits.size(1) + 1;
  return torch::matmul(torch::log_sigmoid(logits), SideOfNode(leaves, true).to(logits.device())) +
         torch::matmul(torch::log_sigmoid(-logits), SideOfNode(leaves, false).to(logits.device()));
}

torch::Tensor LeafGates(const torch::Tensor& logits, int64_t paths) {
  const torch::Tensor log_p = LeafLogProbabilities(logits);
  if (paths == 1) {  // the decided path, which need not end at the most probable leaf
    torch::Tensor node = torch::zeros({logits.size(0), 1}, torch::kLong);
    const int64_t decisions = logits.size(1);
    for (int64_t first = 0; first < decisions; first = 2 * first + 1) {
      node = 2 * node + 1 + (logits.gather(1, node) > 0).to(torch::kLong);
    }
    return torch::zeros_like(log_p).scatter(1, node - decisions, 1.0);
  }
  const auto [top, chosen] = log_p.topk(paths, 1);
  return torch::zeros_like(log_p).scatter(1, chosen, torch::softmax(top, 1));
}

LeafDecisions LearnDecisions(const torch::Tensor& x, const torch::Tensor& shares) {
  const int64_t leaves = shares.size(1), width = x.size(1);
  const torch::Tensor mean = x.mean(0), spread = x.std(0).clamp_min(1e-6);
  const torch::Tensor inputs = ((x - mean) / spread).detach();
  torch::Tensor w = torch::zeros({leaves - 1, width}, torch::requires_grad());
  torch::Tensor b = torch::zeros({leaves - 1}, torch::requires_grad());
  const double tokens = static_cast<double>(x.size(0));
  if (leaves > 1) {
    torch::optim::LBFGS optimizer(
        {w, b}, torch::optim::LBFGSOptions(1.0).max_iter(60).history_size(10).line_search_fn("strong_wolfe"));
    optimizer.step([&] {
      optimizer.zero_grad();
      const torch::Tensor log_p = LeafLogProbabilities(torch::linear(inputs, w, b));
      const torch::Tensor loss = -(shares * log_p).sum() / tokens + kRidge * w.square().sum();
      loss.backward();
      return loss;
    });
  }
  const torch::NoGradGuard no_grad;
  const torch::Tensor weights = w / spread;
  return {weights, b - torch::mv(weights, mean)};
}

LeafDecisions RandomDecisions(const torch::Tensor& x, int64_t depth, int64_t seed) {
  torch::manual_seed(static_cast<uint64_t>(seed));
  const int64_t decisions = (int64_t{1} << depth) - 1;
  const torch::Tensor weights =
      torch::randn({decisions, x.size(1)}) / (x.std(0).clamp_min(1e-6) * std::sqrt(static_cast<double>(x.size(1))));
  return {weights, -torch::mv(weights, x.mean(0))};
}

}  // namespace grove::train
