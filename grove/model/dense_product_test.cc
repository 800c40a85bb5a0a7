// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/dense_product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "grove/base/bf16.h"
#include "grove/kernels/target.h"
#include "grove/model/dense_panels.h"

namespace grove {
namespace {

std::vector<float> Random(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

double Activate(DenseActivation activation, double x) {
  if (activation == DenseActivation::kRelu) return std::max(x, 0.0);
  return activation == DenseActivation::kGelu ? 0.5 * x * std::erfc(-x / std::sqrt(2.0)) : x;
}

// What a product multiplies by in that precision.
float Rounded(Precision precision, float x) { return precision == Precision::kBf16 ? ToFloat(ToBf16(x)) : x; }

void ExpectPlainSums(const DenseShape& shape, size_t rows, ThreadPool& pool) {
  const auto [in, out, activation, precision, exact] = shape;
  const std::vector<float> weights = Random(out * in, 1), bias = Random(out, 2), x = Random(rows * in, 3);
  const DenseProduct product(shape, weights.data(), bias.data(), pool);
  std::vector<float> y(rows * out + 1, -7.0f);
  product.Forward(x.data(), rows, y.data(), pool);
  EXPECT_EQ(y.back(), -7.0f);  // nothing is written behind the end
  for (size_t i = 0; i < rows * out; ++i) {
    double sum = bias[i % out];
    for (size_t k = 0; k < in; ++k) {
      sum += static_cast<double>(Rounded(precision, x[i / out * in + k])) *
             static_cast<double>(Rounded(precision, weights[i % out * in + k]));
    }
    const double tolerance = 1e-4 * std::max(1.0, std::sqrt(static_cast<double>(in) / 100));
    ASSERT_NEAR(y[i], Activate(activation, sum), tolerance) << rows << "x" << in << " -> " << out;
  }
}

// Sizes around those of tiles, panels and blocks of rows.
void ExpectPlainSums(Precision precision, ThreadPool& pool) {
  for (const DenseActivation activation : {DenseActivation::kGelu, DenseActivation::kNone, DenseActivation::kRelu}) {
    // Whole fours of the sum and 0 to 3 more, none at all, and panels cut in two.
    for (const auto& [in, out] : {std::pair<size_t, size_t>{1, 1},
                                  {33, 17},
                                  {64, 200},
                                  {20, 321},
                                  {5, 32},
                                  {2, 65},
                                  {3, 40},
                                  {7, 33},
                                  {0, 70}}) {
      for (const size_t rows : {0, 1, 2, 7, 12, 96, 131}) ExpectPlainSums({in, out, activation, precision}, rows, pool);
    }
  }
}

TEST(DenseProductTest, LongSumsAreCutAndAgreeWithPlainOnes) {
  ThreadPool pool(1);
  for (const std::string& target : AvailableTargets()) {
    SCOPED_TRACE(target);
    ASSERT_TRUE(ForceTarget(target).ok());
    for (const size_t in : {515, 1027}) {
      for (const size_t rows : {1, 13, 40}) {
        ExpectPlainSums({in, 70, DenseActivation::kNone, Precision::kFp32}, rows, pool);
        ExpectPlainSums({in, 70, DenseActivation::kNone, Precision::kBf16}, rows, pool);
      }
    }
  }
  ASSERT_TRUE(ForceTarget("").ok());
}

// Rows so long that tile registers take them in segments, whose sums wait in the result.
TEST(DenseProductTest, VeryLongRowsAgreeWithPlainSums) {
  ThreadPool pool(1);
  ExpectPlainSums({7000, 40, DenseActivation::kGelu, Precision::kBf16}, 130, pool);
}

TEST(DenseProductTest, AgreesWithPlainSumsOnEveryTarget) {
  for (const std::string& target : AvailableTargets()) {
    SCOPED_TRACE(target);
    ASSERT_TRUE(ForceTarget(target).ok());
    for (const size_t threads : {1, 3}) {
      ThreadPool pool(threads);
      ExpectPlainSums(Precision::kFp32, pool);
      ExpectPlainSums(Precision::kBf16, pool);
    }
  }
  ASSERT_TRUE(ForceTarget("").ok());
}

// Also where another form is faster.
TEST(DenseProductTest, PairsOfBf16AgreeWithFloats) {
  if (!HasBf16Pairs()) GTEST_SKIP() << "no AVX512-BF16 here";
  const size_t in = 131, out = 70, rows = 29, stride = Bf16RowStride(in);
  const std::vector<float> weights = Random(out * in, 1), x = Random(rows * in, 3);
  std::vector<Bf16> rounded(out * in), rows_in(rows * stride);
  std::transform(weights.begin(), weights.end(), rounded.begin(), ToBf16);
  const AlignedArray<Bf16> panels = PackBf16Panels(rounded.data(), in, out);
  const AlignedArray<float> bias(RoundUpTo(kPanelColumns, out));
  ToBf16Rows(x.data(), in, rows, in, rows_in.data());
  std::vector<float> y(rows * out);
  RunBf16Panels({.x = rows_in.data(),
                 .weights = panels.data(),
                 .bias = bias.data(),
                 .y = y.data(),
                 .x_stride = stride,
                 .y_stride = out,
                 .rows = rows,
                 .in = in,
                 .columns = out,
                 .activation = DenseActivation::kNone,
                 .panel_bytes = RoundUpTo(2, in) * kPanelColumns * sizeof(Bf16)});
  for (size_t i = 0; i < rows * out; ++i) {
    double sum = 0;
    for (size_t k = 0; k < in; ++k) {
      sum += static_cast<double>(Rounded(Precision::kBf16, x[i / out * in + k])) *
             static_cast<double>(Rounded(Precision::kBf16, weights[i % out * in + k]));
    }
    ASSERT_NEAR(y[i], sum, 1e-4);
  }
}

// Rounded to 127 steps of the largest in a row and in a column, the sum is exact; portable code gives the same.
TEST(DenseProductTest, Int8IsNearAndTheSameOnEveryTarget) {
  const size_t in = 131, out = 70, rows = 29;
  const std::vector<float> weights = Random(out * in, 1), bias = Random(out, 2), x = Random(rows * in, 3);
  std::vector<float> first;
  for (const std::string& target : AvailableTargets()) {
    ASSERT_TRUE(ForceTarget(target).ok());
    ThreadPool pool(2);
    const DenseShape shape{in, out, DenseActivation::kNone, Precision::kInt8};
    const DenseProduct product(shape, weights.data(), bias.data(), pool);
    std::vector<float> y(rows * out + 1, -7.0f);
    product.Forward(x.data(), rows, y.data(), pool);
    EXPECT_EQ(y.back(), -7.0f);
    for (size_t i = 0; i < rows * out; ++i) {
      double sum = bias[i % out];
      for (size_t k = 0; k < in; ++k) {
        sum += static_cast<double>(x[i / out * in + k]) * static_cast<double>(weights[i % out * in + k]);
      }
      ASSERT_NEAR(y[i], sum, 0.6) << target;  // deviation of the sum: 11; of its error: 0.12
    }
    if (first.empty()) first = y;
    EXPECT_EQ(y, first) << target;
  }
  ASSERT_TRUE(ForceTarget("").ok());
}

// weights [out, in] and x [rows, in] of whole 127ths, the largest of each row 1: products are exact on every target,
// and weights come back as they were.
void ExpectExact(const std::vector<float>& weights, size_t out, const std::vector<float>& x, size_t rows) {
  const size_t in = weights.size() / out;
  for (const std::string& target : AvailableTargets()) {
    SCOPED_TRACE(target);
    ASSERT_TRUE(ForceTarget(target).ok());
    ThreadPool pool(1);
    const DenseProduct product({in, out, DenseActivation::kNone, Precision::kInt8}, weights.data(), nullptr, pool);
    std::vector<float> y(rows * out), column(in);
    product.Forward(x.data(), rows, y.data(), pool);
    for (size_t o = 0; o < out; ++o) {
      product.CopyWeights(o, column.data());
      for (size_t i = 0; i < in; ++i) ASSERT_NEAR(column[i], weights[o * in + i], 0.004);  // half of 127 steps
      for (size_t r = 0; r < rows; ++r) {
        double sum = 0;
        for (size_t i = 0; i < in; ++i)
          sum += double{x[r * in + i]} * std::nearbyint(weights[o * in + i] * 127.0) / 127.0;
        ASSERT_NEAR(y[r * out + o], sum, 1e-3) << r << ", " << o;
      }
    }
  }
  ASSERT_TRUE(ForceTarget("").ok());
}

// The largest weights of either sign beside each other, times the largest inputs: no sum of a pair may be cut.
TEST(DenseProductTest, LargestIntegersAreExactOnEveryTarget) {
  const size_t in = 1100, out = 40, rows = 9;
  std::vector<float> weights(out * in), x(rows * in);
  for (size_t o = 0; o < out; ++o) {
    for (size_t i = 0; i < in; ++i)
      weights[o * in + i] = i % (o + 2) == 0 ? -1.0f : i % 5 == 4 && o % 2 == 1 ? 0.5f : 1.0f;
  }
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = i / in % 3 == 0 ? 1.0f : i / in % 3 == 1 ? -1.0f : i % 2 == 0 ? 1.0f : -1.0f;
  ExpectExact(weights, out, x, rows);
}

// Groups of four inputs whose two pairs agree or differ in sign in all outputs, by turns, and those that do both: what
// int8_panels_avx2.h tells apart.
TEST(DenseProductTest, PairsOfEqualAndOfOppositeSignsAreExactOnEveryTarget) {
  const size_t in = 2 * 1024 + 83, out = 50, rows = 14;
  std::vector<float> weights(out * in), x(rows * in);
  std::mt19937 random(5);
  const auto steps = [&](int least, int most) {
    return static_cast<float>(std::uniform_int_distribution<int>(least, most)(random)) / 127.0f;
  };
  for (size_t o = 0; o < out; ++o) {
    for (size_t i = 0; i < in; ++i) {
      const size_t group = i / 4 % 5, pair = i % 4 / 2;
      const bool mixed = group == 4, agree = mixed ? o % 3 == 0 : (group >> pair & 1) != 0;
      const float magnitude = i < 4 ? 1.0f : steps(70, 127), sign = (i / 4 + o) % 2 == 0 ? 1.0f : -1.0f;
      weights[o * in + i] = magnitude * sign * (i % 2 == 1 && !agree ? -1.0f : 1.0f);
    }
  }
  for (size_t i = 0; i < x.size(); ++i) x[i] = i % in == 0 ? 1.0f : steps(-127, 127);
  ExpectExact(weights, out, x, rows);
}

// A sum that is cut: 2500 steps.
TEST(DenseProductTest, LongSumsAndStridesOfTheCallers) {
  ThreadPool pool(2);
  const size_t in = 2500, out = 40, rows = 30, x_stride = 2512, y_stride = 50;
  const std::vector<float> weights = Random(out * in, 1), x = Random(rows * x_stride, 3);
  const DenseProduct product({in, out}, weights.data(), nullptr, pool);
  std::vector<float> y(rows * y_stride, -7.0f);
  product.Forward(x.data(), x_stride, rows, y.data(), y_stride, pool);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < y_stride; ++c) {
      double sum = 0;
      for (size_t k = 0; c < out && k < in; ++k) {
        sum += static_cast<double>(x[r * x_stride + k]) * static_cast<double>(weights[c * in + k]);
      }
      ASSERT_NEAR(y[r * y_stride + c], c < out ? sum : -7.0, 1e-3);
    }
  }
}

// The promise that packed sequences rest on.
TEST(DenseProductTest, ARowHasTheSameResultInEveryBatch) {
  ThreadPool pool(2);
  const size_t in = 1500, out = 77, rows = 140;
  const std::vector<float> weights = Random(out * in, 1), x = Random(rows * in, 3);
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
    const DenseProduct product({in, out, DenseActivation::kGelu, precision}, weights.data(), nullptr, pool);
    std::vector<float> all(rows * out), some(rows * out);
    product.Forward(x.data(), rows, all.data(), pool);
    for (size_t begin = 0, count = 1; begin < rows; begin += count, count = std::min(count + 3, rows - begin)) {
      product.Forward(x.data() + begin * in, count, some.data() + begin * out, pool);
      if (begin + count == rows) break;
    }
    EXPECT_EQ(some, all);
  }
}

// What the products round between them has the bits that the next would round to; long rows are summed in segments.
TEST(DenseProductTest, NarrowRowsHaveTheSameBits) {
  ThreadPool pool(2);
  const size_t width = 130, neurons = 2050, rows = 300;
  const std::vector<float> in = Random(neurons * width, 1), out = Random(width * neurons, 2),
                           x = Random(rows * width, 3);
  const DenseShape first{
      .in = width, .out = neurons, .activation = DenseActivation::kGelu, .precision = Precision::kBf16};
  const DenseProduct to(first, in.data(), nullptr, pool);
  const DenseProduct from({.in = neurons, .out = width, .precision = Precision::kBf16}, out.data(), nullptr, pool);
  if (!to.TakesNarrowRows()) GTEST_SKIP() << "no AMX here";
  std::vector<float> hidden(rows * neurons), expected(rows * width), y(rows * width);
  to.Forward(x.data(), rows, hidden.data(), pool);
  from.Forward(hidden.data(), rows, expected.data(), pool);
  const size_t stride = DenseProduct::NarrowStride(neurons);
  std::vector<Bf16> narrow(rows * stride);
  to.ForwardToNarrow(x.data(), width, rows, narrow.data(), stride, pool);
  from.ForwardFromNarrow(narrow.data(), stride, rows, y.data(), width, pool);
  EXPECT_EQ(y, expected);
}

TEST(DenseProductTest, ThreadsDoNotChangeTheResult) {
  const size_t in = 96, out = 500, rows = 300;
  const std::vector<float> weights = Random(out * in, 1), x = Random(rows * in, 3);
  std::vector<float> first;
  for (const size_t threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    const DenseProduct product({in, out, DenseActivation::kGelu}, weights.data(), nullptr, pool);
    std::vector<float> y(rows * out);
    product.Forward(x.data(), rows, y.data(), pool);
    if (first.empty()) first = y;
    EXPECT_EQ(y, first) << threads;
  }
}

size_t ThreadsOfThisProcess() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(tasks, std::filesystem::directory_iterator()));
}

TEST(DenseProductTest, StartsNoThreadOfItsOwn) {
  ThreadPool pool(2);
  const size_t before = ThreadsOfThisProcess();
  const size_t width = 256, rows = 512;
  const std::vector<float> weights = Random(width * width, 1), x = Random(rows * width, 3);
  const DenseProduct product({width, width}, weights.data(), nullptr, pool);
  std::vector<float> y(rows * width);
  product.Forward(x.data(), rows, y.data(), pool);
  EXPECT_EQ(ThreadsOfThisProcess(), before);
}

}  // namespace
}  // namespace grove
