// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/exact_activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace grove {
namespace {

TEST(ExactActivate, GeluIsWithinItsBound) {
  std::vector<float> x, y;
  for (float v = -20; v <= 20; v += 0.001f) x.push_back(v);
  for (const float v : {0.0f, -0.0f, 1e-30f, -1e30f, 1e30f}) x.push_back(v);
  y.resize(x.size());
  for (const float sign : {1.0f, -1.0f}) {
    ExactActivate(Activation::kGelu, sign, x.data(), x.size(), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = Activate(Activation::kGelu, sign * double{x[i]});
      EXPECT_NEAR(y[i], expected, 4e-7 * std::max(1.0, std::abs(expected))) << x[i];
    }
  }
}

TEST(QuantizeRow, IsWithinHalfAStepAndUsesTheWholeRange) {
  std::vector<float> x;
  for (int i = -50; i <= 50; ++i) x.push_back(0.013f * static_cast<float>(i) + 0.001f);
  std::vector<int8_t> q(x.size());
  const float scale = QuantizeRow(x.data(), x.size(), q.data());
  EXPECT_EQ(q.back(), 127);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(q[i] * scale, x[i], 0.501 * scale);
}

TEST(QuantizeRow, OfZerosIsZero) {
  const std::vector<float> x(20, 0.0f);
  std::vector<int8_t> q(20, 5);
  EXPECT_EQ(QuantizeRow(x.data(), x.size(), q.data()), 0.0f);
  EXPECT_EQ(q, std::vector<int8_t>(20, 0));
}

}  // namespace
}  // namespace grove
