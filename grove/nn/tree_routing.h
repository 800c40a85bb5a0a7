// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Decisions of binary trees as tensors: what leaf trees and neuron trees share, and the balance loss of all routers.
// Logits are [tokens, trees, decisions], breadth-first within a tree; more nodes behind the decisions are ignored.
#pragma once

#include <cstddef>

#include "grove/io/feed_forward_config.h"
#include "grove/nn/feed_forward.h"

namespace grove::nn {

// Values carried from the root to the bottom: the value of a child is combine(value, turn), with the turns' values of
// every decision, `left` and `right` [tokens, trees, decisions]. value [tokens, trees, 1] -> [tokens, trees, 2^depth].
template <class Combine>
torch::Tensor DownTheTree(torch::Tensor value, const torch::Tensor& left, const torch::Tensor& right, size_t depth,
                          const Combine& combine) {
  for (size_t level = 0; level < depth; ++level) {
    const int64_t first = (int64_t{1} << level) - 1, count = int64_t{1} << level;
    value = torch::stack(
                {combine(value, left.narrow(-1, first, count)), combine(value, right.narrow(-1, first, count))}, -1)
                .flatten(-2);
  }
  return value;
}

// log p of every leaf, [tokens, trees, leaves].
torch::Tensor LogProbabilities(const torch::Tensor& logits, size_t depth);
// p itself, cheaper and good enough for means: one sigmoid a decision.
torch::Tensor Probabilities(const torch::Tensor& logits, size_t depth);
// The index of the leaf where each token's decided path ends, [tokens, trees]; a logit of exactly 0 goes left.
torch::Tensor DecidedLeaves(const torch::Tensor& logits, size_t depth);
// 1 right, 0 left, with the gradient of sigmoid(logits): the straight-through estimator (arXiv 1308.3432).
torch::Tensor StraightThroughTurns(const torch::Tensor& logits);

// Entropy of sigmoid(l), natural log: softplus(l) - l sigmoid(l).
torch::Tensor DecisionEntropy(const torch::Tensor& logits);

// Region leak: each entry's sign changed with this probability, which exchanges the two turns of a decision.
torch::Tensor LeakRegions(const torch::Tensor& logits, double probability);

// units x sum_i f_i P_i for routers of `units` choices each, as in mixtures of experts (arXiv 2101.03961, equation 4):
// f_i the share of its router's visits that unit i has (no gradient), P_i its mean probability; 1 when even. mean_p
// [routers x units] of all routers, visited: indices into it, any shape.
torch::Tensor BalanceLoss(const torch::Tensor& mean_p, const torch::Tensor& visited, int64_t units);
// The same from the number of visits of every unit, [routers x units].
torch::Tensor BalanceLossOfCounts(const torch::Tensor& mean_p, const torch::Tensor& visits, int64_t units);

// The weight of a layer's balance loss: what the options say, or the kind's default where they say -1.
double BalanceWeight(const FeedForwardConfig& config, const ModuleOptions& options);

}  // namespace grove::nn
