// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/exact_activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "grove/kernels/rounded_gelu.h"

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
      EXPECT_NEAR(y[i], expected, kRoundedGeluError + 4e-7 * std::abs(expected)) << x[i];
    }
  }
}

TEST(ExactActivate, GeluHasTheSameBitsAnywhereInAnArray) {
  std::vector<float> x(61);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 0.21f * static_cast<float>(i) - 6.0f;
  std::vector<float> whole(x.size());
  ExactActivate(Activation::kGelu, 1.0f, x.data(), x.size(), whole.data());
  for (size_t i = 0; i < x.size(); ++i) {
    float alone = 0;
    ExactActivate(Activation::kGelu, 1.0f, x.data() + i, 1, &alone);
    EXPECT_EQ(alone, whole[i]) << x[i];
  }
}

TEST(ScaleTile, IsScaleSumsAndTheActivationRowByRow) {
  constexpr size_t kRows = 3, kStride = 40;
  std::vector<int32_t> sums(kRows * kTileColumns), column_sums(kTileColumns);
  std::vector<float> columns(kTileColumns), bias(kTileColumns);
  for (size_t i = 0; i < sums.size(); ++i) sums[i] = static_cast<int32_t>(i * 7919 % 5000) - 2500;
  for (size_t n = 0; n < kTileColumns; ++n) {
    column_sums[n] = static_cast<int32_t>(n) - 9;
    columns[n] = 0.01f + 0.001f * static_cast<float>(n), bias[n] = 0.1f * static_cast<float>(n) - 1.0f;
  }
  const std::vector<float> row_scales = {0.1f, 0.07f, 0.3f};
  const SumScales scales{128, 0.0f, column_sums.data(), columns.data(), bias.data()};
  for (const size_t count : {kTileColumns, size_t{5}}) {
    for (const std::optional<Activation> activation : {std::optional<Activation>(), std::optional(Activation::kGelu)}) {
      std::vector<float> y(kRows * kStride, -7.0f), expected = y;
      ScaleTile({kRows, count, sums.data(), row_scales.data(), activation, y.data(), kStride}, scales);
      for (size_t r = 0; r < kRows; ++r) {
        SumScales of_row = scales;
        of_row.row = row_scales[r];
        float* row = expected.data() + r * kStride;
        ScaleSums(sums.data() + r * kTileColumns, of_row, count, row);
        if (activation) ExactActivate(*activation, 1.0f, row, count, row);
      }
      EXPECT_EQ(y, expected);  // and what lies beside is left alone
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
