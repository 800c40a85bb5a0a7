// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/dense_product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <vector>

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

TEST(DenseProductTest, AgreesWithPlainSums) {
  for (const size_t threads : {1, 3}) {
    ThreadPool pool(threads);
    for (const DenseActivation activation : {DenseActivation::kGelu, DenseActivation::kNone, DenseActivation::kRelu}) {
      for (const auto& [in, out] : {std::pair<size_t, size_t>{1, 1}, {33, 17}, {64, 200}, {20, 321}}) {
        const std::vector<float> weights = Random(out * in, 1), bias = Random(out, 2), x = Random(131 * in, 3);
        const DenseProduct product({in, out, activation}, weights.data(), bias.data(), pool);
        for (const size_t rows : {0, 1, 2, 7, 128, 131}) {
          std::vector<float> y(rows * out + 1, -7.0f);
          product.Forward(x.data(), rows, y.data(), pool);
          EXPECT_EQ(y.back(), -7.0f);  // nothing is written behind the end
          for (size_t i = 0; i < rows * out; ++i) {
            double sum = bias[i % out];
            for (size_t k = 0; k < in; ++k) sum += static_cast<double>(x[i / out * in + k]) * weights[i % out * in + k];
            ASSERT_NEAR(y[i], Activate(activation, sum), 1e-4) << rows << "x" << in << " -> " << out;
          }
        }
      }
    }
  }
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
