// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "grove/kernels/target.h"

namespace grove {
namespace {

struct Case {
  size_t heads, head_width;
  std::vector<size_t> lengths;
  bool masked;  // every third row is no key
};

size_t Rows(const Case& c) {
  size_t rows = 0;
  for (const size_t length : c.lengths) rows += length;
  return rows;
}

std::vector<SequenceRows> SequencesOf(const Case& c) {
  std::vector<SequenceRows> sequences;
  size_t begin = 0;
  for (const size_t length : c.lengths) {
    sequences.push_back({begin, length});
    begin += length;
  }
  return sequences;
}

std::vector<float> RandomQkv(const Case& c) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> qkv(Rows(c) * 3 * c.heads * c.head_width);
  for (float& value : qkv) value = normal(random);
  return qkv;
}

// softmax(q k / sqrt(width)) v of one query, in double.
std::vector<double> Plain(const Case& c, const std::vector<float>& qkv, const std::vector<uint8_t>& is_key,
                          const SequenceRows& rows, size_t query, size_t head) {
  const size_t stride = 3 * c.heads * c.head_width, offset = head * 3 * c.head_width;
  const auto at = [&](size_t row, size_t part, size_t i) {
    return static_cast<double>(qkv[row * stride + offset + part * c.head_width + i]);
  };
  std::vector<double> out(c.head_width);
  double sum = 0;
  for (size_t key = rows.begin; key < rows.begin + rows.count; ++key) {
    if (!is_key.empty() && is_key[key] == 0) continue;
    double score = 0;
    for (size_t i = 0; i < c.head_width; ++i) score += at(query, 0, i) * at(key, 1, i);
    const double weight = std::exp(score / std::sqrt(static_cast<double>(c.head_width)));
    sum += weight;
    for (size_t i = 0; i < c.head_width; ++i) out[i] += weight * at(key, 2, i);
  }
  for (double& value : out) value /= sum;
  return out;
}

// Of rows that are rounded to bf16.
std::vector<float> NarrowAttention(const Case& c, const std::vector<SequenceRows>& sequences, const float* qkv,
                                   size_t rows, const uint8_t* is_key, ThreadPool& pool) {
  const size_t width = c.heads * c.head_width, stride = 3 * width + 6, out_stride = width + 2;
  std::vector<Bf16> narrow(rows * stride), out(rows * out_stride);
  for (size_t i = 0; i < rows * 3 * width; ++i) narrow[i / (3 * width) * stride + i % (3 * width)] = ToBf16(qkv[i]);
  NarrowSelfAttention({sequences, c.heads, c.head_width}, {narrow.data(), stride, out.data(), out_stride}, is_key,
                      pool);
  std::vector<float> wide(rows * width);
  for (size_t i = 0; i < rows * width; ++i) wide[i] = ToFloat(out[i / width * out_stride + i % width]);
  return wide;
}

void ExpectPlain(const Case& c, bool bf16 = false) {
  if (bf16 && !HasNarrowAttention(c.head_width)) return;
  std::vector<float> qkv = RandomQkv(c);
  for (float& value : qkv) value = bf16 ? ToFloat(ToBf16(value)) : value;
  const std::vector<SequenceRows> sequences = SequencesOf(c);
  std::vector<uint8_t> is_key;
  for (size_t row = 0; c.masked && row < Rows(c); ++row) is_key.push_back(row % 3 == 1 ? 0 : 1);
  const size_t width = c.heads * c.head_width;
  std::vector<float> out(Rows(c) * width), on_one_thread;
  for (const size_t threads : {1, 3}) {
    ThreadPool pool(threads);
    const uint8_t* mask = c.masked ? is_key.data() : nullptr;
    if (bf16) {
      out = NarrowAttention(c, sequences, qkv.data(), Rows(c), mask, pool);
    } else {
      SelfAttention({sequences, c.heads, c.head_width}, qkv.data(), mask, out.data(), pool);
    }
    if (threads == 1) on_one_thread = out;
    EXPECT_EQ(out, on_one_thread);
  }
  for (const SequenceRows& rows : sequences) {
    for (size_t query = rows.begin; query < rows.begin + rows.count; ++query) {
      for (size_t head = 0; head < c.heads; ++head) {
        const std::vector<double> expected = Plain(c, qkv, is_key, rows, query, head);
        for (size_t i = 0; i < c.head_width; ++i) {
          ASSERT_NEAR(out[query * width + head * c.head_width + i], expected[i], bf16 ? 0.03 : 2e-5)
              << query << " " << head;
        }
      }
    }
  }
}

// Lengths around a tile and a block of keys, widths that are no multiple of a vector, an empty sequence.
TEST(Attention, AgreesWithPlainSumsOnEveryTarget) {
  const Case cases[] = {{.heads = 2, .head_width = 64, .lengths = {1, 13, 0, 128}, .masked = false},
                        {.heads = 3, .head_width = 5, .lengths = {12, 33, 7}, .masked = true},
                        {.heads = 1, .head_width = 40, .lengths = {255, 256, 257, 600}, .masked = false},
                        {.heads = 2, .head_width = 6, .lengths = {33, 300}, .masked = true},
                        {.heads = 1, .head_width = 32, .lengths = {513}, .masked = true}};
  for (const std::string& target : AvailableTargets()) {
    SCOPED_TRACE(target);
    ASSERT_TRUE(ForceTarget(target).ok());
    for (const Case& c : cases) {
      ExpectPlain(c);
      ExpectPlain(c, true);
    }
  }
  ASSERT_TRUE(ForceTarget("").ok());
}

TEST(Attention, ASequenceHasTheSameBitsInEveryBatch) {
  const Case batch{.heads = 2, .head_width = 48, .lengths = {5, 70, 300}, .masked = false};
  const std::vector<float> qkv = RandomQkv(batch);
  const std::vector<SequenceRows> sequences = SequencesOf(batch);
  const size_t width = batch.heads * batch.head_width;
  ThreadPool pool(2);
  for (const bool bf16 : {false, true}) {
    if (bf16 && !HasNarrowAttention(batch.head_width)) continue;
    const auto attend = [&](const std::vector<SequenceRows>& of, const float* first, size_t rows) {
      if (bf16) return NarrowAttention(batch, of, first, rows, nullptr, pool);
      std::vector<float> out(rows * width);
      SelfAttention({of, batch.heads, batch.head_width}, first, nullptr, out.data(), pool);
      return out;
    };
    const std::vector<float> together = attend(sequences, qkv.data(), Rows(batch));
    std::vector<float> alone;
    for (const SequenceRows& rows : sequences) {
      const std::vector<float> one = attend({{0, rows.count}}, qkv.data() + rows.begin * 3 * width, rows.count);
      alone.insert(alone.end(), one.begin(), one.end());
    }
    EXPECT_EQ(together, alone) << (bf16 ? "bf16" : "fp32");
  }
}

// In whole numbers, with guards around what is written, after a longer call has left its rows in the thread's memory.
std::vector<float> ExactAttention(const Case& c, const std::vector<float>& qkv, const std::vector<uint8_t>& is_key) {
  ThreadPool pool(1);
  const Case longer{.heads = 1, .head_width = 64, .lengths = {700}, .masked = false};
  std::vector<float> nans(700 * 3 * 64, std::numeric_limits<float>::quiet_NaN()), ignored(700 * 64);
  SelfAttention({SequencesOf(longer), 1, 64, true}, nans.data(), nullptr, ignored.data(), pool);
  const size_t size = Rows(c) * c.heads * c.head_width;
  std::vector<float> out(size + 1, -7.0f);
  SelfAttention({SequencesOf(c), c.heads, c.head_width, true}, qkv.data(), is_key.empty() ? nullptr : is_key.data(),
                out.data(), pool);
  EXPECT_EQ(out.back(), -7.0f);
  out.pop_back();
  return out;
}

std::vector<float> ExactOnEveryTarget(const Case& c, const std::vector<float>& qkv,
                                      const std::vector<uint8_t>& is_key = {}) {
  std::vector<float> first;
  for (const std::string& target : AvailableTargets()) {
    EXPECT_TRUE(ForceTarget(target).ok());
    const std::vector<float> out = ExactAttention(c, qkv, is_key);
    if (first.empty()) first = out;
    EXPECT_EQ(out, first) << target << ", width " << c.head_width;
  }
  EXPECT_TRUE(ForceTarget("").ok());
  return first;
}

TEST(Attention, ExactBitsAreThoseOfEveryTargetAndNearPlainSums) {
  for (const size_t width : {1, 3, 4, 7, 31, 33, 64}) {
    const Case c{.heads = 2, .head_width = width, .lengths = {1, 31, 32, 33, 65, 257, 389}, .masked = true};
    const std::vector<float> qkv = RandomQkv(c);
    std::vector<uint8_t> is_key(Rows(c), 1);
    for (size_t row = 0; row < Rows(c); ++row) is_key[row] = row % 5 == 3 || row < 1 ? 0 : 1;  // the first has no key
    for (const std::vector<uint8_t>& mask : {std::vector<uint8_t>(), is_key}) {
      const std::vector<float> out = ExactOnEveryTarget(c, qkv, mask);
      for (const SequenceRows& rows : SequencesOf(c)) {
        for (size_t row = rows.begin + rows.count / 3; row < rows.begin + rows.count; row += 40) {
          if (row == 0) continue;
          const std::vector<double> expected = Plain(c, qkv, mask, rows, row, 1);
          for (size_t i = 0; i < width; ++i) EXPECT_NEAR(out[row * 2 * width + width + i], expected[i], 0.02) << row;
        }
      }
    }
  }
}

// The only key of a sequence has the weight 1, and its values are the largest of their columns.
TEST(Attention, ExactValueOfOneKeyIsItself) {
  const std::vector<float> values = {0.0f,       -0.0f,    1.0f,       -1.0f, 1.00012207f, 3.14159274f,
                                     -2.718281f, 0x1p-60f, -0x1p-100f, 1e30f, 1e-37f,      123.456f};
  const size_t width = values.size();
  std::vector<float> qkv(3 * width, 0.5f);
  std::copy(values.begin(), values.end(), qkv.begin() + static_cast<ptrdiff_t>(2 * width));
  const std::vector<float> out =
      ExactOnEveryTarget({.heads = 1, .head_width = width, .lengths = {1}, .masked = false}, qkv);
  for (size_t i = 0; i < width; ++i) EXPECT_NEAR(out[i], values[i], 1e-36 + 1e-6 * std::abs(values[i])) << values[i];
}

// Queries and keys without a direction: every key counts the same, on both sides of a block's end.
TEST(Attention, ExactSharesOfZerosAreEqual) {
  const Case c{.heads = 1, .head_width = 16, .lengths = {70, 300}, .masked = false};
  for (const size_t zeroed : {0, 1}) {  // query or key
    std::vector<float> qkv = RandomQkv(c);
    for (size_t row = 0; row < Rows(c); ++row) std::fill_n(qkv.begin() + (row * 3 + zeroed) * 16, 16, 0.0f);
    const std::vector<float> out = ExactOnEveryTarget(c, qkv);
    for (const SequenceRows& rows : SequencesOf(c)) {
      const std::vector<double> expected = Plain(c, qkv, {}, rows, rows.begin, 0);
      for (size_t i = 0; i < 16; ++i) EXPECT_NEAR(out[(rows.begin + 1) * 16 + i], expected[i], 1e-3);
    }
  }
}

// What the sums of integers can hold: all products of the largest size and of one sign.
TEST(Attention, ExactSumsHoldTheLargestProducts) {
  for (const size_t width : {64, 256, 1030}) {
    const Case c{.heads = 1, .head_width = width, .lengths = {520}, .masked = false};
    std::vector<float> qkv(Rows(c) * 3 * width, 3.0f);
    for (const float out : ExactOnEveryTarget(c, qkv)) ASSERT_NEAR(out, 3.0f, 1e-5);
  }
}

// The largest score may come late: what was gathered before shrinks to nothing without overflow.
TEST(Attention, LargeScoresInALaterBlock) {
  Case c{.heads = 1, .head_width = 8, .lengths = {300}, .masked = false};
  std::vector<float> qkv = RandomQkv(c);
  for (size_t i = 0; i < 8; ++i) {
    qkv[i] = 30;                    // the first query
    qkv[299 * 24 + 8 + i] = 30;     // the last key
    qkv[299 * 24 + 16 + i] = -7.5;  // its value
  }
  std::vector<float> out(300 * 8);
  ThreadPool pool(1);
  for (const bool exact : {false, true}) {
    SelfAttention({SequencesOf(c), 1, 8, exact}, qkv.data(), nullptr, out.data(), pool);
    for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(out[i], -7.5f, exact ? 0.01 : 1e-5);
  }
}

}  // namespace
}  // namespace grove
