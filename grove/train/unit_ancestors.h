// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Leaves that learn from their relatives' tokens: a third remedy for the shrinking batch, ours, beside those of
// unit_updates.h. A leaf of a deep tree sees one token of many; its subtrees see more, its tree sees all. Here every
// leaf moves by AdamW's step for its own gradient and by the steps for the summed gradients of s subtrees that hold it:
//
//   w_u <- w_u - rate / sqrt(s + 1) (adam(g_u) + sum over subtrees a of u of adam(sum over leaves j of a of g_j))
//
// adam(g) is m / (1 - beta1^t) over sqrt(v / (1 - beta2^t)) + epsilon; every subtree has moments of its own. This is
// AdamW on weights that are written as sums along the path, w_u = W_root + ... + W_u, but for weight decay: what all
// leaves need is learnt once, from every token, and what sets a leaf apart from its own. The model stays a plain leaf
// tree.
//
// The s subtrees of a leaf are spread evenly from the whole tree down. Experts of a mixture have no tree: s = 1 is all
// of them.
#pragma once

#include <cstdint>
#include <vector>

#include "grove/nn/feed_forward.h"

namespace grove::train {

struct AdamHyper {
  double rate, beta1, beta2, epsilon, weight_decay;
  int64_t step;  // the first is 1
};

// Units below each of the `ancestors` subtrees of a unit, largest first; fewer where the tree is less deep. Empty where
// the units are no leaves of complete trees, nor experts.
std::vector<int64_t> SubtreeSizes(const nn::UnitLayout& layout, int64_t ancestors);

class AncestorSteps {
 public:
  // `like` [units, ...]; `sizes` of SubtreeSizes(), not empty.
  AncestorSteps(const torch::Tensor& like, std::vector<int64_t> sizes);

  // Moves the parameter [units, ...] by the steps of all subtrees; gradient of the same shape.
  void Step(const AdamHyper& hyper, const torch::Tensor& gradient, torch::Tensor parameter);

  // Moments, for checkpoints. Shares memory.
  std::vector<torch::Tensor> state() const;

  // The factor 1 / sqrt(s + 1) of every step, the unit's own too.
  double share() const;

 private:
  std::vector<int64_t> sizes_;
  std::vector<torch::Tensor> first_, second_;  // [units / size, ...], in the order of sizes_
};

}  // namespace grove::train
