// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "grove/base/check.h"

namespace grove {
namespace {

// Processors that a quota of microseconds a period is worth; 0 means no limit.
size_t CpusOf(double quota, double period) {
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<size_t>(std::max(1.0, quota / period + 0.5));
}

// cgroup v2 writes "quota period" or "max period", v1 has a file for each and -1 for no limit.
size_t CgroupCpuLimit() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (file >> quota >> period) return quota == "max" ? 0 : CpusOf(std::strtod(quota.c_str(), nullptr), period);
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double quota_v1 = 0;
  return quota_file >> quota_v1 && period_file >> period ? CpusOf(quota_v1, period) : 0;
}

}  // namespace

size_t DefaultThreads() {
  size_t threads = std::max(1u, std::thread::hardware_concurrency());
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) threads = static_cast<size_t>(CPU_COUNT(&set));
  const size_t limit = CgroupCpuLimit();
  if (limit != 0) threads = std::min(threads, limit);
  return std::max<size_t>(threads, 1);
}

namespace {

// About 30 microseconds: longer than the serial part between two loops of a model, shorter than anyone notices.
constexpr int kSpins = 1000;

void Pause() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

// Waking a sleeping thread takes longer than many a loop: both sides look for a while before they sleep.
struct ThreadPool::Team {
  std::mutex mutex;
  std::condition_variable start, done;
  const FunctionRef<void(size_t, size_t)>* body = nullptr;
  size_t count = 0, grain = 1;
  std::atomic<size_t> next{0};
  std::atomic<size_t> generation{0};  // one per ParallelFor; workers wait for it to change
  std::atomic<size_t> working{0};     // workers that have not finished this generation
  std::atomic<bool> stop{false};
  int caller_processor = -1;  // when workers were last told
  int spins = 0;
  std::vector<std::thread> workers;

  void RunBlocks() {
    for (size_t begin; (begin = next.fetch_add(grain)) < count;) (*body)(begin, std::min(begin + grain, count));
  }

  template <class Condition>
  void WaitFor(std::condition_variable& signal, const Condition& condition) {
    for (int i = 0; i < spins; ++i) {
      if (condition()) return;
      Pause();
    }
    std::unique_lock lock(mutex);
    signal.wait(lock, condition);
  }

  // Linux may wake a worker on the processor of the thread that wakes it and leave both there while another one idles:
  // each then gets half. So workers may run on any processor but the caller's; told again when that has changed. More
  // threads than processors have to share some.
  void KeepFromCaller() {
    const int processor = sched_getcpu();
    if (spins == 0 || processor == caller_processor || processor < 0) return;
    caller_processor = processor;
    cpu_set_t others;
    if (sched_getaffinity(0, sizeof(others), &others) != 0) return;
    CPU_CLR(static_cast<size_t>(processor), &others);
    if (CPU_COUNT(&others) == 0) return;
    for (std::thread& worker : workers) pthread_setaffinity_np(worker.native_handle(), sizeof(others), &others);
  }

  void WorkerLoop() {
    for (size_t seen = 0;;) {
      WaitFor(start, [&] { return stop || generation != seen; });
      if (stop) return;
      seen = generation;
      RunBlocks();
      if (--working != 0) continue;
      const std::lock_guard lock(mutex);
      done.notify_one();
    }
  }
};

ThreadPool::ThreadPool(size_t threads) : threads_(std::max<size_t>(threads, 1)) {
  if (threads_ == 1) return;
  team_ = std::make_unique<Team>();
  team_->spins =
      threads_ <= DefaultThreads() ? kSpins : 0;  // more threads than processors: looking takes one from work
  for (size_t i = 1; i < threads_; ++i) team_->workers.emplace_back([team = team_.get()] { team->WorkerLoop(); });
}

ThreadPool::~ThreadPool() {
  if (!team_) return;
  {
    const std::lock_guard lock(team_->mutex);
    team_->stop = true;
  }
  team_->start.notify_all();
  for (std::thread& worker : team_->workers) worker.join();
}

void ThreadPool::ParallelFor(size_t count, size_t grain, FunctionRef<void(size_t, size_t)> body) {
  GROVE_CHECK(grain > 0);
  if (count == 0) return;
  if (!team_ || count <= grain) {
    for (size_t begin = 0; begin < count; begin += grain) body(begin, std::min(begin + grain, count));
    return;
  }
  team_->KeepFromCaller();
  {
    const std::lock_guard lock(team_->mutex);
    team_->body = &body;
    team_->count = count;
    team_->grain = grain;
    team_->next = 0;
    team_->working = team_->workers.size();
    ++team_->generation;
  }
  team_->start.notify_all();
  team_->RunBlocks();
  team_->WaitFor(team_->done, [&] { return team_->working == 0; });
}

}  // namespace grove
