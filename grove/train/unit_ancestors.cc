// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/unit_ancestors.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "grove/base/check.h"

namespace grove::train {
namespace {

// [n x size, ...] -> [n, size, ...]
torch::Tensor InGroups(const torch::Tensor& t, int64_t size) {
  std::vector<int64_t> shape = t.sizes().vec();
  shape.front() /= size;
  shape.insert(shape.begin() + 1, size);
  return t.view(shape);
}

}  // namespace

std::vector<int64_t> SubtreeSizes(const nn::UnitLayout& layout, int64_t ancestors) {
  const auto [low, high] = std::minmax_element(layout.unit_level.begin(), layout.unit_level.end());
  if (layout.unit_level.empty() || *low != *high || ancestors <= 0) return {};
  for (const nn::UnitLayout::Parameter& parameter : layout.parameters) {
    if (parameter.dim != 0) return {};
  }
  const int64_t depth = *low, units = static_cast<int64_t>(layout.units());
  if (depth == 0) return units > 1 ? std::vector<int64_t>{units} : std::vector<int64_t>();
  std::vector<int64_t> sizes;
  const int64_t count = std::min(ancestors, depth);
  for (int64_t i = 0; i < count; ++i) sizes.push_back(int64_t{1} << (depth - i * depth / count));
  return sizes;
}

AncestorSteps::AncestorSteps(const torch::Tensor& like, std::vector<int64_t> sizes) : sizes_(std::move(sizes)) {
  GROVE_CHECK(!sizes_.empty());
  for (const int64_t size : sizes_) {
    std::vector<int64_t> shape = like.sizes().vec();
    GROVE_CHECK(shape.front() % size == 0);
    shape.front() /= size;
    for (auto* moments : {&first_, &second_})
      moments->push_back(torch::zeros(shape, like.options().requires_grad(false)));
  }
}

double AncestorSteps::share() const { return 1.0 / std::sqrt(static_cast<double>(sizes_.size() + 1)); }

void AncestorSteps::Step(const AdamHyper& hyper, const torch::Tensor& gradient, torch::Tensor parameter) {
  const double t = static_cast<double>(hyper.step);
  const double root = std::sqrt(1.0 - std::pow(hyper.beta2, t));
  // Sums from the smallest subtrees to the largest, each from those of the one before.
  torch::Tensor sum = gradient;
  int64_t below = 1;
  for (size_t i = sizes_.size(); i-- > 0;) {
    sum = InGroups(sum, sizes_[i] / below).sum(1);
    below = sizes_[i];
    first_[i].lerp_(sum, 1.0 - hyper.beta1);
    second_[i].mul_(hyper.beta2).addcmul_(sum, sum, 1.0 - hyper.beta2);
  }
  // Steps from the largest to the smallest, each added to that of the one above.
  torch::Tensor step;
  for (size_t i = 0; i < sizes_.size(); ++i) {
    torch::Tensor own = first_[i] / (second_[i].sqrt() / root + hyper.epsilon);
    if (i > 0) InGroups(own, sizes_[i - 1] / sizes_[i]).add_(step.unsqueeze(1));
    step = own;
  }
  const double rate = hyper.rate * share() / (1.0 - std::pow(hyper.beta1, t));
  InGroups(parameter, sizes_.back()).add_(step.unsqueeze(1), -rate);
}

std::vector<torch::Tensor> AncestorSteps::state() const {
  std::vector<torch::Tensor> state = first_;
  state.insert(state.end(), second_.begin(), second_.end());
  return state;
}

}  // namespace grove::train
