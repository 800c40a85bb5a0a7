// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/unit_updates.h"

#include <gtest/gtest.h>

#include <cmath>

#include "grove/train/adamw.h"

namespace grove::train {
namespace {

constexpr double kRate = 1e-2;

// Three units: two columns each of one matrix, an element each of a vector; and a parameter of no unit.
class ThreeUnits final : public nn::FeedForward {
 public:
  ThreeUnits() {
    torch::manual_seed(4);
    columns_ = register_parameter("columns", torch::randn({5, 6}));
    bias_ = register_parameter("bias", torch::randn({3}));
    shared_ = register_parameter("shared", torch::randn({7}));
  }
  Output Compute(const torch::Tensor& x, const torch::Tensor&) override { return {x, {}}; }
  nn::UnitLayout Units() const override {
    nn::UnitLayout layout;
    layout.unit_level = {0, 0, 0};
    layout.parameters = {{"columns", columns_, 1}, {"bias", bias_, 0}};
    return layout;
  }
  torch::Tensor UnitWeights(int64_t unit) const {
    return torch::cat({columns_.narrow(1, 2 * unit, 2).flatten(), bias_.narrow(0, unit, 1)}).detach().clone();
  }
  // The same pseudo-random gradient for a given step, in every parameter.
  void SetGradients(int64_t step) {
    torch::manual_seed(static_cast<uint64_t>(100 + step));
    for (auto& parameter : parameters()) parameter.mutable_grad().copy_(torch::randn_like(parameter) * 0.01);
  }
  torch::Tensor columns_, bias_, shared_;
};

struct Trained {
  explicit Trained(const UnitOptions& units) : optimizer(*layer, {.weight_decay = 0.1, .clip = 1e9, .units = units}) {}
  void Step(int64_t number, const std::vector<float>& visits, float tokens) {
    layer->SetGradients(number);
    optimizer.Step(kRate, {{layer.get(), torch::tensor(visits), torch::tensor(tokens)}});
  }
  std::shared_ptr<ThreeUnits> layer = std::make_shared<ThreeUnits>();
  AdamW optimizer;
};

void ExpectClose(const torch::Tensor& a, const torch::Tensor& b) {
  EXPECT_LT((a - b).abs().max().item<double>(), 1e-6) << a << b;
}

TEST(UnitUpdates, AreAdamWsWhereEveryTokenUsesEveryUnit) {
  Trained plain({}), both({.rate_power = 0.5, .lazy = true});
  for (int64_t step = 0; step < 5; ++step) {
    plain.Step(step, {8, 8, 8}, 8);
    both.Step(step, {8, 8, 8}, 8);
  }
  for (int64_t unit = 0; unit < 3; ++unit) ExpectClose(both.layer->UnitWeights(unit), plain.layer->UnitWeights(unit));
  ExpectClose(both.layer->shared_.detach(), plain.layer->shared_.detach());
  EXPECT_TRUE(plain.optimizer.unit_state().empty());
  EXPECT_EQ(both.optimizer.unit_state().size(), 2u);
}

TEST(UnitUpdates, LazyUnitsRestAndGoOnWhereTheyWere) {
  Trained lazy({.lazy = true}), awake({});
  const torch::Tensor start = lazy.layer->UnitWeights(2);
  // Unit 1 sleeps in steps 1 and 2; unit 2 never wakes. The reference has the same gradients without those steps.
  for (const int64_t step : {0, 1, 2, 3, 4}) {
    const torch::Tensor before = lazy.layer->UnitWeights(1);
    const bool sleeps = step == 1 || step == 2;
    lazy.Step(step, {3, sleeps ? 0.0f : 2.0f, 0}, 9);
    EXPECT_EQ(torch::equal(lazy.layer->UnitWeights(1), before), sleeps) << step;
    if (!sleeps) awake.Step(step, {3, 3, 3}, 9);
  }
  ExpectClose(lazy.layer->UnitWeights(1), awake.layer->UnitWeights(1));
  EXPECT_TRUE(torch::equal(lazy.layer->UnitWeights(2), start));
  EXPECT_EQ(lazy.optimizer.moments().at("bias").second[2].item<double>(), 0);
  EXPECT_TRUE(torch::equal(lazy.optimizer.unit_state().at("units..visited"), torch::tensor({5.0f, 3.0f, 0.0f})));
}

TEST(UnitUpdates, RatesFollowTheShareOfTokens) {
  for (const double power : {0.5, 1.0, -0.5}) {
    Trained plain({}), scaled({.rate_power = power});
    const std::vector<torch::Tensor> start = {plain.layer->UnitWeights(0), plain.layer->UnitWeights(1),
                                              plain.layer->UnitWeights(2)};
    plain.Step(0, {16, 4, 1}, 16);
    scaled.Step(0, {16, 4, 1}, 16);
    for (int64_t unit = 0; unit < 3; ++unit) {
      const double factor = std::pow(std::pow(0.25, static_cast<double>(unit)), power);
      const torch::Tensor begin = start[static_cast<size_t>(unit)];
      ExpectClose(scaled.layer->UnitWeights(unit), begin + (plain.layer->UnitWeights(unit) - begin) * factor);
    }
    ExpectClose(scaled.layer->shared_.detach(), plain.layer->shared_.detach());
  }
}

TEST(UnitUpdates, ALayerThatNobodyReportedOnIsUpdatedAsUsual) {
  Trained plain({}), lazy({.rate_power = 1, .lazy = true});
  plain.layer->SetGradients(0);
  plain.optimizer.Step(kRate);
  lazy.layer->SetGradients(0);
  lazy.optimizer.Step(kRate);
  for (int64_t unit = 0; unit < 3; ++unit) ExpectClose(lazy.layer->UnitWeights(unit), plain.layer->UnitWeights(unit));
}

}  // namespace
}  // namespace grove::train
