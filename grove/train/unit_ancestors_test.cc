// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/unit_ancestors.h"

#include <gtest/gtest.h>

#include "grove/train/adamw.h"

namespace grove::train {
namespace {

constexpr double kPeak = 1e-2;

// `trees` trees of 2^depth leaves, three weights a leaf. Depth 0: experts.
class Leaves final : public nn::FeedForward {
 public:
  Leaves(int64_t trees, int32_t depth) : units_(trees << depth), depth_(depth) {
    torch::manual_seed(4);
    weights_ = register_parameter("w1s", torch::randn({units_, 3}));
    shared_ = register_parameter("shared", torch::randn({7}));
  }
  Output Compute(const torch::Tensor& x, const torch::Tensor&) override { return {x, {}}; }
  nn::UnitLayout Units() const override {
    nn::UnitLayout layout;
    layout.unit_level.assign(static_cast<size_t>(units_), depth_);
    layout.parameters = {{"w1s", weights_, 0}};
    return layout;
  }
  int64_t units_;
  int32_t depth_;
  torch::Tensor weights_, shared_;
};

torch::Tensor GradientOf(int64_t step, const torch::Tensor& like) {
  torch::manual_seed(static_cast<uint64_t>(100 + step));
  return torch::randn_like(like) * 0.01;
}

// LibTorch's own optimizer on weights written as sums along the path is the oracle.
void CompareWithSums(int64_t trees, int32_t depth, int64_t ancestors, const std::vector<int64_t>& sizes) {
  const auto layer = std::make_shared<Leaves>(trees, depth);
  EXPECT_EQ(SubtreeSizes(layer->Units(), ancestors), sizes);
  AdamW optimizer(*layer, {.weight_decay = 0, .clip = 1e9, .units = {.ancestors = ancestors}});
  std::vector<torch::Tensor> levels{layer->weights_.detach().clone().requires_grad_()};
  for (const int64_t size : sizes) levels.push_back(torch::zeros({layer->units_ / size, 3}).requires_grad_());
  const auto sum = [&] {
    torch::Tensor weights = levels[0];
    for (size_t i = 0; i < sizes.size(); ++i) weights = weights + levels[i + 1].repeat_interleave(sizes[i], 0);
    return weights;
  };
  const double rate = kPeak / std::sqrt(static_cast<double>(sizes.size() + 1));
  torch::optim::AdamW reference(
      levels, torch::optim::AdamWOptions(rate).betas(std::make_tuple(0.9, 0.98)).eps(1e-12).weight_decay(0));
  for (int64_t step = 0; step < 5; ++step) {
    const torch::Tensor gradient = GradientOf(step, layer->weights_);
    layer->weights_.mutable_grad().copy_(gradient);
    optimizer.Step(kPeak);
    reference.zero_grad();
    (sum() * gradient).sum().backward();
    reference.step();
  }
  EXPECT_LT((layer->weights_ - sum()).abs().max().item<double>(), 1e-5);
}

TEST(AncestorSteps, AreAdamWsOnSumsAlongThePath) {
  CompareWithSums(1, 3, 1, {8});
  CompareWithSums(1, 3, 3, {8, 4, 2});
  CompareWithSums(2, 4, 2, {16, 4});
  CompareWithSums(1, 2, 9, {4, 2});  // no more subtrees than levels
}

TEST(AncestorSteps, OfExpertsAreThoseOfAllTogether) { CompareWithSums(6, 0, 3, {6}); }

TEST(AncestorSteps, LeaveTheRestToAdamW) {
  Leaves plain(1, 3), with(1, 3);
  AdamW a(plain, {.weight_decay = 0.1, .clip = 1e9}),
      b(with, {.weight_decay = 0.1, .clip = 1e9, .units = {.ancestors = 3}});
  for (int64_t step = 0; step < 3; ++step) {
    for (Leaves* layer : {&plain, &with}) layer->shared_.mutable_grad().copy_(GradientOf(step, layer->shared_));
    a.Step(kPeak);
    b.Step(kPeak);
  }
  EXPECT_LT((plain.shared_ - with.shared_).abs().max().item<double>(), 1e-6);
  EXPECT_LT((plain.weights_ - with.weights_).abs().max().item<double>(), 1e-6);  // decay alone: no gradient
  EXPECT_EQ(b.unit_state().size(), 2u + 2 * 3);
}

// All leaves of a tree that pull the same way: the subtrees carry them together.
TEST(AncestorSteps, CarryALeafWithoutGradientWithItsSiblings) {
  Leaves layer(2, 1);
  AdamW optimizer(layer, {.weight_decay = 0, .clip = 1e9, .units = {.ancestors = 1}});
  const torch::Tensor before = layer.weights_.detach().clone();
  layer.weights_.mutable_grad().zero_();
  layer.weights_.mutable_grad()[0].fill_(0.5);
  optimizer.Step(kPeak);
  const torch::Tensor moved = (layer.weights_.detach() - before) / -kPeak * std::sqrt(2.0);
  const torch::Tensor expected = torch::tensor({2.0f, 1.0f, 0.0f, 0.0f}).unsqueeze(1).expand({4, 3});
  EXPECT_LT((moved - expected).abs().max().item<double>(), 1e-4) << moved;
}

TEST(AncestorSteps, NeedLeavesOrExperts) {
  const auto layer = std::make_shared<Leaves>(1, 3);
  EXPECT_TRUE(CheckAncestors(*layer, {.ancestors = 2}).ok());
  const torch::nn::Linear dense(3, 3);
  EXPECT_TRUE(CheckAncestors(*dense, {}).ok());
  const Status refused = CheckAncestors(*dense, {.ancestors = 2});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("--ancestor-steps"), std::string::npos);
}

}  // namespace
}  // namespace grove::train
