// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A program of its own, because it counts every allocation of the process: an encoder that has seen a batch allocates
// nothing for another that is no larger, whatever its layers, and its head neither.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "grove/base/arena.h"
#include "grove/model/encoder.h"
#include "grove/model/model.h"
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
// As std::stable_partition asks; the sanitizer's own would not go with the operators below.
void* operator new(size_t size, const std::nothrow_t&) noexcept { return Allocate(size, alignof(std::max_align_t)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace grove {
namespace {

constexpr size_t kBatch = 5, kLength = 24;

// An encoder and its head, run again and again on masked and whole batches.
class Steady {
 public:
  Steady(const ModelConfig& config, const EncoderOptions& options, size_t threads, size_t batch = kBatch)
      : pool_(threads),
        config_(config),
        batch_(batch),
        ids_(batch * kLength),
        mask_(ids_.size(), 1),
        hidden_(ids_.size() * Width()) {
    const test::TemporaryFolder folder;
    test::WriteModel(folder.path(), config, test::MakeRandomTensors(config, 7));
    model_.emplace(LoadModel(folder.path(), &pool_, {.tokenizer = false, .encoder = options}).value());
    for (size_t i = 0; i < ids_.size(); ++i) ids_[i] = static_cast<int32_t>(i * 17 % 40);
    scores_.resize(ids_.size() * static_cast<size_t>(std::max(config.vocabulary, config.head.labels)));
  }

  // The fewest allocations of five rounds in a row. Which thread takes which rows is chance: one may meet a part late,
  // and keeps its memory then, but what allocates in every call is seen in every round.
  size_t Allocations() {
    mask_[kLength - 1] = mask_[kLength - 2] = mask_[3 * kLength + 7] = 0;
    size_t without = 0, fewest = ~size_t{0};
    for (int round = 0; round < 100 && without < 5; ++round) {
      const size_t before = allocations;
      Run(false, batch_);
      Run(true, batch_);
      Run(true, batch_ - 2);
      Run(false, 1);
      Run(false, 1, 3);  // few tokens take other forms of the layers
      const size_t now = allocations - before;
      without = now == 0 ? without + 1 : 0;
      fewest = std::min(fewest, now);
    }
    return without == 5 ? 0 : std::max<size_t>(fewest, 1);
  }

 private:
  size_t Width() const { return static_cast<size_t>(config_.width); }

  void Run(bool masked, size_t batch, size_t length = kLength) {
    const std::span<const int32_t> ids = ids_;
    const std::span<const uint8_t> mask = mask_;
    TokenBatch input{.ids = ids.first(batch * length), .batch = batch, .length = length};
    if (masked) input.mask = mask.first(batch * length);
    EXPECT_TRUE(model_->encoder.Forward(input, arena_, hidden_.data()).ok());
    if (model_->masked_lm) model_->masked_lm->Forward(hidden_.data(), batch * length, scores_.data(), pool_);
    if (model_->classifier) model_->classifier->Forward(hidden_.data(), input, scores_.data(), pool_);
  }

  ThreadPool pool_;
  ModelConfig config_;
  size_t batch_;
  std::optional<LoadedModel> model_;
  std::vector<int32_t> ids_;
  std::vector<uint8_t> mask_;
  std::vector<float> hidden_, scores_;
  Arena arena_;
};

void ExpectNone(const ModelConfig& config) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
    for (const size_t threads : {1, 3}) {
      EXPECT_EQ(Steady(config, {.precision = precision}, threads).Allocations(), 0u)
          << DescribeFeedForward(config) << ", " << PrecisionName(precision) << ", " << threads << " threads";
    }
  }
}

void ExpectNone(const FeedForwardConfig& layer) {
  ModelConfig config = test::SmallConfig();
  config.feed_forward = layer;
  ExpectNone(config);
  config.width = 64;  // whole vectors
  ExpectNone(config);
}

// Each thread takes sequences through all layers, with memory of its own.
TEST(EncoderAllocation, LargeBatches) {
  ModelConfig config = test::SmallConfig();
  for (const FeedForwardConfig& layer :
       {FeedForwardConfig{.kind = FeedForwardKind::kDense, .intermediate = 36},
        FeedForwardConfig{
            .kind = FeedForwardKind::kLeafTree, .depth = 4, .leaf_width = 8, .paths = 2, .always_on = 6}}) {
    config.feed_forward = layer;
    EXPECT_EQ(Steady(config, {.precision = Precision::kInt8}, 3, 3 * 512 / kLength + 8).Allocations(), 0u)
        << DescribeFeedForward(config);
  }
}

TEST(EncoderAllocation, DenseLayers) {
  ASSERT_GT(allocations, 0u);  // they are counted
  ExpectNone({.kind = FeedForwardKind::kDense, .intermediate = 36});
  ExpectNone({.kind = FeedForwardKind::kDense, .nonlinearity = NonLinearity::kGeluGlu, .intermediate = 36});
  ExpectNone({.kind = FeedForwardKind::kNone});
}

TEST(EncoderAllocation, LeafTrees) {
  ExpectNone({.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 20, .paths = 1});
  ExpectNone({.kind = FeedForwardKind::kLeafTree, .trees = 2, .depth = 4, .leaf_width = 5, .paths = 3, .always_on = 6});
  ExpectNone({.kind = FeedForwardKind::kLeafTree, .depth = 7, .leaf_width = 16, .paths = 4});
  ExpectNone({.kind = FeedForwardKind::kLeafTree, .depth = 10, .leaf_width = 4, .paths = 4});
}

TEST(EncoderAllocation, NeuronTrees) {
  ExpectNone({.kind = FeedForwardKind::kNeuronTree, .trees = 3, .depth = 3});
  ExpectNone({.kind = FeedForwardKind::kNeuronTree, .depth = 9});
  ExpectNone({.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 4, .two_sided = true});
  for (const TreeRouting routing : {TreeRouting::kRandom, TreeRouting::kTokenHash}) {
    ExpectNone({.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 4, .routing = routing});
  }
}

TEST(EncoderAllocation, MixturesAndProductKeys) {
  ExpectNone({.kind = FeedForwardKind::kMoe, .experts = 4, .expert_width = 6, .top_k = 2});
  ExpectNone({.kind = FeedForwardKind::kProductKey, .top_k = 2, .key_heads = 2, .sub_keys = 4, .key_width = 8});
}

TEST(EncoderAllocation, Classifiers) {
  ModelConfig config = test::SmallConfig();
  for (const bool dense : {false, true}) {
    config.head = {
        .kind = HeadKind::kSequenceClassification, .labels = 3, .pooler_dense = dense, .pooler_width = config.width};
    ExpectNone(config);
  }
}

}  // namespace
}  // namespace grove
