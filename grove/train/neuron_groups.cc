// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/neuron_groups.h"

#include <vector>

#include "grove/base/check.h"

namespace grove::train {
namespace {

// The direction of largest variance of centred rows, by power iteration. [features]
torch::Tensor PrincipalDirection(const torch::Tensor& rows) {
  torch::Tensor direction = torch::ones({rows.size(1)});
  direction = direction + 0.01 * torch::arange(rows.size(1)).to(torch::kFloat).sin();  // not orthogonal to it by chance
  for (int i = 0; i < 30; ++i) {
    direction = torch::mv(rows.t(), torch::mv(rows, direction));
    direction = direction / direction.norm().clamp_min(1e-30);
  }
  return direction;
}

// The indices of `members` as two halves, the first of `left` members. Each assignment is the best one for its centres:
// to move a neuron costs the difference of its distances, so the halves are the two ends of a sorted row.
std::pair<torch::Tensor, torch::Tensor> Halve(const torch::Tensor& features, const torch::Tensor& members,
                                              int64_t left) {
  const torch::Tensor rows = features.index_select(0, members);
  const torch::Tensor centred = rows - rows.mean(0, /*keepdim=*/true);
  torch::Tensor order = torch::mv(centred, PrincipalDirection(centred)).argsort();
  const int64_t count = members.size(0);
  for (int round = 0; round < 30; ++round) {
    const torch::Tensor a = centred.index_select(0, order.narrow(0, 0, left)).mean(0);
    const torch::Tensor b = centred.index_select(0, order.narrow(0, left, count - left)).mean(0);
    const torch::Tensor cost = (centred - a).square().sum(1) - (centred - b).square().sum(1);
    const torch::Tensor next = cost.argsort();
    const bool same =
        torch::equal(std::get<0>(next.narrow(0, 0, left).sort()), std::get<0>(order.narrow(0, 0, left).sort()));
    order = next;
    if (same) break;
  }
  return {members.index_select(0, order.narrow(0, 0, left)),
          members.index_select(0, order.narrow(0, left, count - left))};
}

torch::Tensor Padded(const std::vector<torch::Tensor>& groups, int64_t leaf_width) {
  const torch::Tensor leaves = torch::full({static_cast<int64_t>(groups.size()), leaf_width}, -1, torch::kLong);
  for (size_t i = 0; i < groups.size(); ++i) {
    GROVE_CHECK(groups[i].size(0) <= leaf_width);
    leaves[static_cast<int64_t>(i)].narrow(0, 0, groups[i].size(0)).copy_(groups[i]);
  }
  return leaves;
}

}  // namespace

torch::Tensor GroupNeurons(const torch::Tensor& features, int64_t depth, int64_t leaf_width) {
  std::vector<torch::Tensor> groups = {torch::arange(features.size(0), torch::kLong)};
  for (int64_t level = 0; level < depth; ++level) {
    std::vector<torch::Tensor> halves;
    for (const torch::Tensor& group : groups) {
      auto [left, right] = Halve(features, group, (group.size(0) + 1) / 2);
      halves.push_back(left);
      halves.push_back(right);
    }
    groups = std::move(halves);
  }
  return Padded(groups, leaf_width);
}

torch::Tensor GroupAtRandom(int64_t neurons, int64_t depth, int64_t leaf_width, int64_t seed) {
  torch::manual_seed(static_cast<uint64_t>(seed));
  const torch::Tensor order = torch::randperm(neurons, torch::kLong);
  std::vector<torch::Tensor> groups;
  for (const torch::Tensor& part : order.tensor_split(int64_t{1} << depth)) groups.push_back(part);
  return Padded(groups, leaf_width);
}

}  // namespace grove::train
