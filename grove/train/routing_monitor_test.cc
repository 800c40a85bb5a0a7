// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/routing_monitor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "grove/train/adamw.h"

namespace grove::train {
namespace {

// A tree of depth 1 with 4 leaves in place of 2, for even and uneven uses: every row of x holds the unit it visits and
// the entropy of the one decision.
class Scripted final : public nn::FeedForward {
 public:
  Scripted() { weights_ = register_parameter("weights", torch::ones({4, 2})); }
  Output Compute(const torch::Tensor& x, const torch::Tensor&) override {
    if (Collecting()) {
      RecordVisits(x.select(1, 0), x.size(0));
      RecordEntropy(x.select(1, 1).sum().view({1}));
    }
    return {x, {}};
  }
  nn::UnitLayout Units() const override {
    nn::UnitLayout layout;
    layout.unit_level = {1, 1, 1, 1};
    layout.decision_level = {0};
    layout.parameters = {{"weights", weights_, 0}};
    return layout;
  }
  torch::Tensor weights_;
};

torch::Tensor Visits(const std::vector<float>& units, float entropy) {
  const torch::Tensor unit = torch::tensor(units);
  return torch::stack({unit, torch::full_like(unit, entropy)}, 1);
}

TEST(RoutingMonitor, FiguresAreWhatTheyAreCalled) {
  const auto first = std::make_shared<Scripted>(), second = std::make_shared<Scripted>();
  RoutingMonitor monitor({{nullptr, first}, {nullptr, second}}, {.few_tokens = 2, .dead_after = 2});
  ASSERT_FALSE(monitor.empty());
  first->weights_.mutable_grad() = torch::tensor({{3.0f, 0.0f}, {0.0f, 4.0f}, {0.0f, 0.0f}, {0.0f, 0.0f}});
  monitor.BeginStep(true);
  first->Forward(Visits({0, 0, 1}, 0.2f));
  second->Forward(Visits({0, 0, 2}, 0.4f));
  monitor.EndStep();
  ASSERT_EQ(monitor.use().size(), 1u);
  EXPECT_EQ(monitor.use()[0].layer, first.get());
  EXPECT_EQ(monitor.use()[0].tokens.item<double>(), 6);
  EXPECT_TRUE(torch::equal(monitor.use()[0].visits, torch::tensor({4.0f, 1.0f, 1.0f, 0.0f})));

  const std::vector<LayerFigures> report = monitor.Report();
  ASSERT_EQ(report.size(), 1u);
  const LayerFigures& layer = report[0];
  EXPECT_EQ(layer.layer, 1);
  EXPECT_EQ(layer.tokens, 6);
  ASSERT_EQ(layer.entropy.size(), 1u);
  EXPECT_NEAR(layer.entropy[0], 0.3, 1e-6);
  ASSERT_EQ(layer.levels.size(), 1u);  // the level of the decision has no units
  const LevelFigures& level = layer.levels[0];
  EXPECT_EQ(level.units, 4);
  EXPECT_EQ(level.mean_tokens, 1.5);
  EXPECT_EQ(level.min_tokens, 0);
  EXPECT_EQ(level.median_tokens, 1);
  EXPECT_EQ(level.max_tokens, 4);
  EXPECT_NEAR(level.effective_batch, 3 / (0.25 + 1 + 1), 1e-12);
  EXPECT_EQ(level.unvisited, 1);
  EXPECT_EQ(level.dead, 0);
  EXPECT_EQ(level.fragmented, 2);
  EXPECT_NEAR(*level.usage_entropy, (std::log(6) - 4.0 / 6 * std::log(4)) / std::log(4), 1e-6);
  EXPECT_NEAR(level.gradient_norm, 5, 1e-6);
  EXPECT_EQ(layer.histogram, (std::vector<int64_t>{1, 2, 0, 1}));  // 0; 1; 2 to 3; 4 to 7

  const auto line = RoutingLine(report);
  EXPECT_EQ(line["layers"][0]["unvisited"], nlohmann::ordered_json({1}));
  EXPECT_EQ(line["layers"][0]["effective_batch"], nlohmann::ordered_json({1.333}));
  EXPECT_FALSE(line["layers"][0].contains("decision_gradient_norm"));
}

TEST(RoutingMonitor, AUnitWithoutAVisitInSeveralReportsIsDead) {
  const auto layer = std::make_shared<Scripted>();
  RoutingMonitor monitor({{layer}}, {.dead_after = 3});
  const auto dead = [&](const std::vector<float>& units) {
    monitor.BeginStep(true);
    layer->Forward(Visits(units, 0));
    monitor.EndStep();
    return monitor.Report()[0].levels[0].dead;
  };
  EXPECT_EQ(dead({0, 1}), 0);
  EXPECT_EQ(dead({0, 1}), 0);
  EXPECT_EQ(dead({0, 1, 2}), 1);  // unit 3
  EXPECT_EQ(dead({0, 3}), 0);
}

TEST(RoutingMonitor, GathersOnlyWhatIsAskedFor) {
  const auto layer = std::make_shared<Scripted>();
  RoutingMonitor sparing({{layer}}, {});
  sparing.BeginStep(false);
  layer->Forward(Visits({0, 1}, 0));
  sparing.EndStep();
  EXPECT_TRUE(sparing.use().empty());
  sparing.BeginStep(true);
  layer->Forward(Visits({2}, 0));
  sparing.EndStep();
  EXPECT_EQ(sparing.use()[0].visits.sum().item<double>(), 1);

  RoutingMonitor eager({{layer}}, {.every_step = true});
  eager.BeginStep(false);
  layer->Forward(Visits({0, 1}, 0));
  eager.EndStep([](torch::Tensor& sums) { sums.mul_(3); });  // as if three processes had seen the same
  EXPECT_EQ(eager.use()[0].visits.sum().item<double>(), 6);
  EXPECT_EQ(eager.use()[0].tokens.item<double>(), 6);
}

TEST(RoutingMonitor, LayersWithoutUnitsAreLeftOut) {
  const FeedForwardConfig dense{.kind = FeedForwardKind::kDense, .intermediate = 8};
  RoutingMonitor monitor({{nn::MakeFeedForward({dense, 4, 0.1, {}}), nullptr}}, {});
  EXPECT_TRUE(monitor.empty());
  monitor.BeginStep(true);
  monitor.EndStep();
  EXPECT_TRUE(monitor.use().empty());
}

// What the figures are for: the hardening loss shows in the decisions' entropy, the balance loss in the leaves' use.
TEST(RoutingMonitor, ShowsHardeningAndBalancing) {
  const FeedForwardConfig config{.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 4, .paths = 2};
  struct Seen {
    double entropy, usage;
  };
  const auto train = [&](const nn::ModuleOptions& options) {
    torch::manual_seed(11);
    const auto layer = nn::MakeFeedForward({config, 8, 0.3, options});
    // Tokens that lie close together all take one way at first.
    const torch::Tensor x = torch::randn({64, 8}) * 0.3 + torch::randn({1, 8}), y = torch::randn({64, 8});
    AdamW optimizer(*layer, {.clip = 10});
    RoutingMonitor monitor({{layer}}, {});
    for (int step = 0; step < 150; ++step) {
      monitor.BeginStep(step == 149);
      const auto out = layer->Forward(x);
      torch::Tensor loss = (out.y - y).square().mean();
      if (out.regularizer.defined()) loss = loss + out.regularizer;
      loss.backward();
      monitor.EndStep();
      optimizer.Step(1e-2);
      optimizer.ZeroGradients();
    }
    const LayerFigures figures = monitor.Report()[0];
    EXPECT_EQ(figures.levels.size(), 1u);
    EXPECT_EQ(figures.entropy.size(), 3u);
    EXPECT_EQ(figures.decision_gradient_norm.size(), 3u);
    EXPECT_GT(figures.levels[0].gradient_norm, 0);
    return Seen{(figures.entropy[0] + figures.entropy[1] + figures.entropy[2]) / 3, *figures.levels[0].usage_entropy};
  };
  const Seen plain = train({}), hardened = train({.hardening = 0.3}), balanced = train({.balance = 1});
  EXPECT_LT(hardened.entropy, 0.5 * plain.entropy);
  EXPECT_GT(balanced.usage, plain.usage + 0.05);
}

}  // namespace
}  // namespace grove::train
