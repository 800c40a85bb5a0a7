// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace grove {
namespace {

TEST(ThreadPool, CoversEveryIndexOnce) {
  for (const size_t threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (const size_t count : {0, 1, 7, 64, 1000}) {
      std::vector<std::atomic<int>> visits(count);
      pool.ParallelFor(count, 7, [&](size_t begin, size_t end) {
        EXPECT_LE(end - begin, 7u);
        for (size_t i = begin; i < end; ++i) ++visits[i];
      });
      for (const auto& v : visits) EXPECT_EQ(v, 1);
    }
  }
}

TEST(ThreadPool, IsReusableManyTimes) {
  ThreadPool pool(3);
  std::atomic<size_t> sum{0};
  for (int i = 0; i < 2000; ++i) pool.ParallelFor(10, 1, [&](size_t begin, size_t) { sum += begin; });
  EXPECT_EQ(sum, 2000u * 45u);
}

TEST(DefaultThreads, IsAtLeastOne) { EXPECT_GE(DefaultThreads(), 1u); }

}  // namespace
}  // namespace grove
