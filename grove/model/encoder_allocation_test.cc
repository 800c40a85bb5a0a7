// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A program of its own, because it counts every allocation of the process: an encoder that has seen a batch allocates
// nothing for another that is no larger.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "grove/base/arena.h"
#include "grove/model/encoder.h"
#include "grove/model/random_model.h"
#include "tests/temporary_folder.h"

namespace {
std::atomic<size_t> allocations{0};

void* Allocate(size_t size, size_t alignment) {
  ++allocations;
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t size) { return Allocate(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) { return Allocate(size, static_cast<size_t>(alignment)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace grove {
namespace {

// Allocations of one call, once larger batches have been seen.
size_t AllocationsOf(const ModelConfig& config, const EncoderOptions& options, size_t threads) {
  const test::TemporaryFolder folder;
  test::WriteModel(folder.path(), config, test::MakeRandomTensors(config, 7));
  ThreadPool pool(threads);
  const Encoder encoder = Encoder::Load(ModelDirectory::Open(folder.path()).value(), &pool, options).value();
  constexpr size_t kBatch = 5, kLength = 24;
  std::vector<int32_t> ids(kBatch * kLength, 3);
  std::vector<uint8_t> mask(ids.size(), 1);
  std::vector<float> hidden(ids.size() * static_cast<size_t>(config.width));
  Arena arena;
  const auto run = [&](bool masked, size_t batch) {
    const std::span<const int32_t> all = ids;
    const std::span<const uint8_t> shown = mask;
    TokenBatch input{.ids = all.first(batch * kLength), .batch = batch, .length = kLength};
    if (masked) input.mask = shown.first(batch * kLength);
    EXPECT_TRUE(encoder.Forward(input, arena, hidden.data()).ok());
  };
  for (int warm = 0; warm < 20; ++warm) run(false, kBatch);  // every thread has met every part
  mask[kLength - 1] = mask[kLength - 2] = mask[3 * kLength + 7] = 0;
  run(true, kBatch);
  run(true, kBatch);
  const size_t before = allocations;
  run(true, kBatch);
  run(true, kBatch - 2);
  run(false, kBatch);
  return allocations - before;
}

TEST(EncoderAllocation, SteadyStateAllocatesNothing) {
  ASSERT_GT(allocations, 0u);  // they are counted
  ModelConfig config = test::SmallConfig();
  for (const NonLinearity nonlinearity : {NonLinearity::kGelu, NonLinearity::kGeluGlu}) {
    config.feed_forward.nonlinearity = nonlinearity;
    EXPECT_EQ(AllocationsOf(config, {}, 1), 0u);
    EXPECT_EQ(AllocationsOf(config, {}, 3), 0u);
  }
  if (Supports(Precision::kBf16)) {
    EXPECT_EQ(AllocationsOf(config, {.precision = Precision::kBf16}, 3), 0u);
  }
  EXPECT_EQ(AllocationsOf(config, {.precision = Precision::kInt8}, 3), 0u);
  config.feed_forward = {.kind = FeedForwardKind::kNone};
  EXPECT_EQ(AllocationsOf(config, {}, 3), 0u);
}

}  // namespace
}  // namespace grove
