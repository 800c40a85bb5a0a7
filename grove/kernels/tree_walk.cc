// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/tree_walk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "hwy/cache_control.h"

namespace grove {
namespace {

// Measured on Zen 4 (1 MiB of second-level cache), width 768; half or double of each changes little.
constexpr size_t kTopChunk = 64;        // tokens that go through the top levels together
constexpr size_t kSubtreeTokens = 128;  // wanted for each subtree: with the next one's they fit the second-level cache
constexpr size_t kMostTopLevels = 7;    // their rows must fit it too
constexpr size_t kMostAtOnce = 64;      // tokens of one call of the arithmetic
constexpr size_t kSharesOfRow = 4;      // levels that ask for a token's row ahead, a share of the row each
constexpr size_t kMostLevels = 64;

// Fewer tokens for each thread than this and grouping finds nothing to share.
constexpr size_t kFewestGrouped = 16;
// Of a single tree: more, and the scratch of a walk leaves the caches. Of several: x and y, which every tree reads
// again, should stay in the third-level cache.
constexpr size_t kMostTokensOneTree = 16384, kMostTokensManyTrees = 1024;
constexpr size_t kCachesHoldBytes = size_t{32} << 20;

}  // namespace

WalkForm ChooseWalkForm(const NeuronTreeShape& shape, size_t tokens, size_t threads) {
  if (tokens < threads && shape.trees >= 2 * threads) return WalkForm::kOneByThreads;
  return tokens < kFewestGrouped ? WalkForm::kFewTokens : WalkForm::kGrouped;
}

size_t WalkGrain(const NeuronTreeShape& shape, size_t tokens, size_t threads) {
  const size_t share = (tokens + threads - 1) / threads;
  return std::clamp(share, kFewestGrouped, shape.trees == 1 ? kMostTokensOneTree : kMostTokensManyTrees);
}

bool WalkPastCaches(const NeuronTreeShape& shape, const float* y, size_t tokens) {
  const bool lines = reinterpret_cast<uintptr_t>(y) % kCacheLineBytes == 0;
  return shape.trees == 1 && lines && tokens * RoundUpToLine<float>(shape.width) * sizeof(float) > kCachesHoldBytes;
}

TreeWalk::TreeWalk(const NeuronTreeShape& shape, const TreeArithmetic& arithmetic)
    : shape_(shape),
      arithmetic_(arithmetic),
      stride_(RoundUpToLine<float>(shape.levels())),
      scratch_(ThreadScratch()) {}

TreeWalk::Scratch& TreeWalk::ThreadScratch() {
  static thread_local Scratch scratch;
  return scratch;
}

void TreeWalk::Run(const TreeTokens& tokens, const NeuronTreeTrace* trace) {
  tokens_ = tokens;
  scratch_.order.resize(tokens.count), scratch_.sorted.resize(tokens.count), scratch_.ends.resize(tokens.count);
  if (scratch_.logits.size() < tokens.count * stride_) scratch_.logits = AlignedArray<float>(tokens.count * stride_);
  for (tree_ = 0; tree_ < shape_.trees; ++tree_) {
    WalkTree();
    if (trace) WriteTrace(*trace);
  }
  if (tokens.past_caches) hwy::FlushStream();
}

void TreeWalk::WalkTree() {
  std::iota(scratch_.order.begin(), scratch_.order.end(), uint32_t{0});
  const size_t wanted = std::bit_width(tokens_.count / kSubtreeTokens);
  const size_t top = std::min({wanted, kMostTopLevels, shape_.depth});
  const size_t first_end = (size_t{1} << top) - 1, ends = first_end + 1;
  const Group all(scratch_.order);
  if (top > 0) {
    first_level_ = 0;
    for (size_t first = 0; first < all.size(); first += kTopChunk) {
      ahead_ = kTopChunk;
      Descend(0, 0, top, all.subspan(first, std::min(kTopChunk, all.size() - first)));
    }
  } else {
    std::fill(scratch_.ends.begin(), scratch_.ends.end(), 0u);
  }
  SortByEnd(first_end, ends);
  first_level_ = top;
  for (size_t e = 0; e < ends; ++e) {
    for (size_t first = scratch_.begins[e]; first < scratch_.begins[e + 1]; first += ahead_) {
      ahead_ = std::min(2 * kSubtreeTokens, scratch_.begins[e + 1] - first);
      Descend(first_end + e, top, shape_.levels(), all.subspan(first, ahead_));
    }
  }
}

const std::byte* TreeWalk::Ahead(size_t position, size_t level) const {
  const size_t next = std::min(position + ahead_, scratch_.order.size() - 1);
  return tokens_.x + scratch_.order[next] * tokens_.x_stride +
         (level - first_level_) * (tokens_.x_stride / kSharesOfRow);
}

void TreeWalk::Descend(size_t node, size_t level, size_t stop, Group group) {
  const size_t n = tree_ * shape_.nodes_per_tree() + node;
  const bool bottom = level == shape_.depth, asks = level < first_level_ + kSharesOfRow;
  if (stop > shape_.depth) arithmetic_.PrefetchOut(n);
  std::array<const void*, kMostAtOnce> x, ahead;
  std::array<float, kMostAtOnce> logits;
  const size_t position = static_cast<size_t>(group.data() - scratch_.order.data());
  size_t lefts = 0, rights = 0;
  for (size_t first = 0; first < group.size(); first += kMostAtOnce) {
    const size_t count = std::min(kMostAtOnce, group.size() - first);
    for (size_t i = 0; i < count; ++i) {
      x[i] = tokens_.x + group[first + i] * tokens_.x_stride;
      if (asks) ahead[i] = Ahead(position + first + i, level);
    }
    arithmetic_.Logits(n, x.data(), asks ? ahead.data() : nullptr, count, logits.data());
    for (size_t i = 0; i < count; ++i) {
      const uint32_t token = group[first + i];
      scratch_.logits[token * stride_ + level] = logits[i];
      const bool right = logits[i] > 0.0f;
      if (level + 1 >= stop) {
        scratch_.ends[token] = static_cast<uint32_t>(bottom ? node : 2 * node + (right ? 2 : 1));
      } else if (right) {
        scratch_.sorted[rights++] = token;
      } else {
        group[lefts++] = token;
      }
    }
  }
  if (bottom) return Output(node, group);
  if (level + 1 == stop) return;
  std::copy_n(scratch_.sorted.begin(), rights, group.begin() + static_cast<ptrdiff_t>(lefts));
  if (lefts != 0) Descend(2 * node + 1, level + 1, stop, group.first(lefts));
  if (rights != 0) Descend(2 * node + 2, level + 1, stop, group.last(rights));
}

void TreeWalk::Output(size_t bottom, Group group) {
  using Into = TreeArithmetic::Into;
  const Into into = tree_ > 0 ? Into::kSum : tokens_.past_caches ? Into::kMemory : Into::kRow;
  std::array<uint32_t, kMostLevels> nodes;
  for (size_t level = shape_.levels(); level-- > 0; bottom = (bottom - 1) / 2) {
    nodes[level] = static_cast<uint32_t>(tree_ * shape_.nodes_per_tree() + bottom);
  }
  std::array<const float*, kMostAtOnce> logits;
  std::array<float*, kMostAtOnce> y;
  for (size_t first = 0; first < group.size(); first += kMostAtOnce) {
    const size_t count = std::min(kMostAtOnce, group.size() - first);
    for (size_t i = 0; i < count; ++i) {
      logits[i] = scratch_.logits.data() + group[first + i] * stride_;
      y[i] = tokens_.y + group[first + i] * tokens_.y_stride;
    }
    arithmetic_.Outputs(nodes.data(), shape_.levels(), logits.data(), count, into, y.data());
  }
}

// scratch_.order by scratch_.ends, stably; scratch_.ends are first_end ... first_end + ends - 1.
void TreeWalk::SortByEnd(size_t first_end, size_t ends) {
  scratch_.begins.assign(ends + 1, 0);
  for (const uint32_t end : scratch_.ends) ++scratch_.begins[end - first_end + 1];
  std::partial_sum(scratch_.begins.begin(), scratch_.begins.end(), scratch_.begins.begin());
  std::vector<size_t>& next = scratch_.next;
  next = scratch_.begins;
  for (size_t t = 0; t < scratch_.ends.size(); ++t)
    scratch_.order[next[scratch_.ends[t] - first_end]++] = static_cast<uint32_t>(t);
}

void TreeWalk::WriteTrace(const NeuronTreeTrace& trace) const {
  const size_t levels = shape_.levels();
  for (size_t t = 0; t < tokens_.count; ++t) {
    const size_t at = (t * shape_.trees + tree_) * levels;
    std::copy_n(scratch_.logits.data() + t * stride_, levels, trace.logits + at);
    size_t node = scratch_.ends[t];
    for (size_t level = levels; level-- > 0; node = (node - 1) / 2) {
      trace.nodes[at + level] = static_cast<uint32_t>(tree_ * shape_.nodes_per_tree() + node);
    }
  }
}

}  // namespace grove
