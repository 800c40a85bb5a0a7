// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A fixed team of threads for loops over independent ranges. The calling thread is one of the team, so a pool of one
// runs everything in place and starts no thread.
//
//   ThreadPool pool(DefaultThreads());
//   pool.ParallelFor(tokens, 16, [&](size_t begin, size_t end) { Work(begin, end); });
#pragma once

#include <cstddef>
#include <memory>

#include "grove/base/function_ref.h"

namespace grove {

// Threads this process may keep busy: the affinity mask, capped by the cgroup's CPU quota. At least 1.
size_t DefaultThreads();

class ThreadPool {
 public:
  explicit ThreadPool(size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t threads() const { return threads_; }

  // Calls body(begin, end) on disjoint ranges that cover [0, count), in blocks of `grain` (the last may be shorter),
  // and returns when all are done. How ranges fall to threads is not fixed: a body must not let results depend on it.
  // Allocates nothing. Not reentrant: a body must not call ParallelFor of the same pool.
  void ParallelFor(size_t count, size_t grain, FunctionRef<void(size_t begin, size_t end)> body);

 private:
  struct Team;
  size_t threads_;
  std::unique_ptr<Team> team_;
};

}  // namespace grove
