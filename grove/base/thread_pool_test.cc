// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <thread>
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

// Or Linux may put both on one processor after a pause and leave them there.
TEST(ThreadPool, WorkersKeepOffTheCallersProcessor) {
  if (DefaultThreads() < 2) GTEST_SKIP() << "one processor";
  ThreadPool pool(2);
  const std::thread::id caller = std::this_thread::get_id();
  for (int attempt = 0; attempt < 100; ++attempt) {
    const int before = sched_getcpu();
    std::atomic<int> started{0};
    bool allowed = true;
    pool.ParallelFor(2, 1, [&](size_t, size_t) {
      ++started;
      while (started < 2) std::this_thread::yield();  // one block to each thread
      cpu_set_t set;
      if (std::this_thread::get_id() == caller || sched_getaffinity(0, sizeof(set), &set) != 0) return;
      allowed = CPU_ISSET(static_cast<size_t>(before), &set) != 0;
    });
    if (sched_getcpu() != before) continue;  // the caller moved meanwhile
    EXPECT_FALSE(allowed);
    return;
  }
}

}  // namespace
}  // namespace grove
