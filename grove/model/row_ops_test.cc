// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/row_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "grove/kernels/target.h"

namespace grove {
namespace {

std::vector<float> Random(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.7f, 2.0f);
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

// Calls body(target) with each target of the machine in force.
template <class Body>
void OnEveryTarget(const Body& body) {
  for (const std::string& target : AvailableTargets()) {
    SCOPED_TRACE(target);
    ASSERT_TRUE(ForceTarget(target).ok());
    body();
  }
  ASSERT_TRUE(ForceTarget("").ok());
}

constexpr float kEps = 1e-5f;

std::vector<double> PlainNorm(const std::vector<float>& x, size_t width, const std::vector<float>& weight,
                              const std::vector<float>& bias) {
  std::vector<double> y(x.size());
  for (size_t row = 0; row < x.size(); row += width) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < width; ++i) mean += double{x[row + i]} / static_cast<double>(width);
    for (size_t i = 0; i < width; ++i)
      variance += (x[row + i] - mean) * (x[row + i] - mean) / static_cast<double>(width);
    for (size_t i = 0; i < width; ++i) {
      y[row + i] = (x[row + i] - mean) / std::sqrt(variance + double{kEps}) * double{weight[i]} + double{bias[i]};
    }
  }
  return y;
}

TEST(NormalizeRows, IsTheNormOfEachRowWithTheSameBitsOnEveryTarget) {
  for (const size_t width : {2, 15, 16, 45, 768}) {
    const std::vector<float> weight = Random(width, 1), bias = Random(width, 2);
    for (const size_t rows : {1, 3, 4, 9}) {  // four are added abreast
      const std::vector<float> x = Random(rows * width, 3);
      const std::vector<double> expected = PlainNorm(x, width, weight, bias);
      std::vector<float> first;
      OnEveryTarget([&] {
        std::vector<float> y(x.size());
        NormalizeRows(x.data(), rows, width, weight.data(), bias.data(), kEps, y.data());
        for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], 2e-5) << rows << " x " << width;
        if (first.empty()) first = y;
        EXPECT_EQ(y, first);
      });
    }
  }
}

TEST(NormalizeRows, GivesARowTheBitsThatItGetsAlone) {
  const size_t width = 70, rows = 11;
  const std::vector<float> weight = Random(width, 1), bias = Random(width, 2), x = Random(rows * width, 3);
  std::vector<float> together(x.size()), alone(x.size());
  NormalizeRows(x.data(), rows, width, weight.data(), bias.data(), kEps, together.data());
  for (size_t r = 0; r < rows; ++r) {
    NormalizeRows(x.data() + r * width, 1, width, weight.data(), bias.data(), kEps, alone.data() + r * width);
  }
  EXPECT_EQ(together, alone);
}

TEST(AddNormalizeRows, AddsThenNormalizes) {
  const size_t width = 45, rows = 6;
  const std::vector<float> weight = Random(width, 1), bias = Random(width, 2), x = Random(rows * width, 3);
  std::vector<float> sum = Random(rows * width, 4), expected_sum = sum, y(sum.size()), expected(sum.size());
  for (size_t i = 0; i < sum.size(); ++i) expected_sum[i] += x[i];
  NormalizeRows(expected_sum.data(), rows, width, weight.data(), bias.data(), kEps, expected.data());
  std::vector<float> in_place = sum;
  AddNormalizeRows(x.data(), rows, width, weight.data(), bias.data(), kEps, sum.data(), y.data());
  EXPECT_EQ(sum, expected_sum);
  EXPECT_EQ(y, expected);
  AddNormalizeRows(x.data(), rows, width, weight.data(), bias.data(), kEps, in_place.data(), in_place.data());
  EXPECT_EQ(in_place, expected);  // y may be sum
}

TEST(RoundToBytes, IsWithinHalfAStepWithTheSameBitsOnEveryTarget) {
  for (const size_t size : {1, 7, 16, 31, 33, 100}) {
    const std::vector<float> x = Random(size, 5);
    std::vector<uint8_t> first;
    OnEveryTarget([&] {
      std::vector<uint8_t> bytes(size);
      float scale = 0;
      RoundToBytes(x.data(), size, scale, bytes.data());
      for (size_t i = 0; i < size; ++i) EXPECT_NEAR((bytes[i] - 128) * scale, x[i], 0.501f * scale);
      if (first.empty()) first = bytes;
      EXPECT_EQ(bytes, first);
    });
  }
}

}  // namespace
}  // namespace grove
