// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/projected_attention.h"

#include <gtest/gtest.h>

#include <vector>

#include "grove/kernels/test_cases.h"

namespace grove {
namespace {

using test::OnEveryTarget;
using test::RandomNormal;

struct Case {
  size_t heads, head_width;
  std::vector<size_t> counts;  // rows of each sequence
  bool masked = false;
};

// Heads whose columns are whole panels alone, in twos and in sixteens, and some that no such number divides.
std::vector<Case> Cases() {
  return {{12, 64, {30, 1, 17}},         {4, 32, {9}, true}, {4, 16, {20, 13}},
          {16, 2, {5, 6}, true},         {3, 16, {33}},      {1, 8, {4}},
          {4, 64, {200, 180, 120}, true}};  // in fp32 more than one part
}

size_t RowsOf(const Case& c) {
  size_t rows = 0;
  for (const size_t count : c.counts) rows += count;
  return rows;
}

// In one step after the other: the product of all heads, then attention.
std::vector<float> Expected(const DenseProduct& product, const AttentionShape& shape, const std::vector<float>& x,
                            size_t rows, const uint8_t* is_key, ThreadPool& pool) {
  const size_t width = shape.width();
  std::vector<float> mixed(rows * width);
  if (HasNarrowProjection(product, shape)) {
    std::vector<Bf16> qkv(rows * 3 * width + 64), narrow(rows * width);
    product.ForwardToNarrow(x.data(), width, rows, qkv.data(), 3 * width, pool);
    NarrowSelfAttention(shape, {qkv.data(), 3 * width, narrow.data(), width}, is_key, pool);
    for (size_t i = 0; i < mixed.size(); ++i) mixed[i] = ToFloat(narrow[i]);
    return mixed;
  }
  std::vector<float> qkv(rows * 3 * width);
  product.Forward(x.data(), rows, qkv.data(), pool);
  SelfAttention(shape, qkv.data(), is_key, mixed.data(), pool);
  return mixed;
}

std::vector<float> Projected(const DenseProduct& product, const AttentionShape& shape, const std::vector<float>& x,
                             size_t rows, const uint8_t* is_key, ThreadPool& pool) {
  const size_t width = shape.width();
  std::vector<float> mixed(rows * width);
  if (HasNarrowProjection(product, shape)) {
    std::vector<Bf16> narrow(rows * width);
    ProjectedAttention(product, shape, x.data(), rows, is_key, {nullptr, narrow.data(), width}, pool);
    for (size_t i = 0; i < mixed.size(); ++i) mixed[i] = ToFloat(narrow[i]);
  } else {
    ProjectedAttention(product, shape, x.data(), rows, is_key, {mixed.data(), nullptr, width}, pool);
  }
  return mixed;
}

TEST(ProjectedAttentionTest, HasTheBitsOfOneStepAfterTheOther) {
  for (const Case& c : Cases()) {
    const size_t width = c.heads * c.head_width, rows = RowsOf(c);
    std::vector<SequenceRows> sequences;
    for (size_t begin = 0; const size_t count : c.counts) sequences.push_back({begin, count}), begin += count;
    std::vector<uint8_t> is_key(rows, 1);
    for (size_t r = 0; r < rows; r += 3) is_key[r] = 0;
    const std::vector<float> x = RandomNormal(rows * width, 1.0f, 1), bias = RandomNormal(3 * width, 0.1f, 3);
    const std::vector<float> weights = RandomNormal(3 * width * width, 0.1f, 2);
    for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
      OnEveryTarget([&] {
        ThreadPool one(1), three(3);
        const AttentionShape shape{sequences, c.heads, c.head_width, precision == Precision::kInt8};
        const DenseProduct product({.in = width, .out = 3 * width, .precision = precision}, weights.data(), bias.data(),
                                   one);
        const uint8_t* mask = c.masked ? is_key.data() : nullptr;
        const std::vector<float> expected = Expected(product, shape, x, rows, mask, one);
        EXPECT_EQ(Projected(product, shape, x, rows, mask, one), expected) << c.heads << " x " << c.head_width;
        EXPECT_EQ(Projected(product, shape, x, rows, mask, three), expected) << c.heads << " x " << c.head_width;
      });
    }
  }
}

}  // namespace
}  // namespace grove
