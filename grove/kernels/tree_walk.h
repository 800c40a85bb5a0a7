// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Many tokens through neuron trees, grouped by subtree so that a weight row that has been brought near is used by every
// token that needs it. For each tree:
//
//     1. The top levels, in chunks of tokens that fit the second-level cache beside those levels' rows.
//     2. The tokens are sorted by the subtree they have reached.
//     3. Each subtree takes its tokens, level by level: at every node they share its row while the rows of the next
//     nodes
//        are on their way, and at the bottom all tokens of a group have taken one path, so that their outputs are one
//        small product.
//
// Tokens come from the second-level cache at half the speed at which they are multiplied: where there are several at a
// node, its decision and both of its children's are computed at once.
//
// The tokens ahead are asked for while the arithmetic computes. Nothing of a token's sums depends on its group: results
// are the bits that the token gets alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/kernels/neuron_tree.h"
#include "grove/kernels/tree_arithmetic.h"

namespace grove {

// Rows of tokens in the arithmetic's own form, and of their outputs, padded to whole cache lines.
struct TreeTokens {
  const std::byte* x = nullptr;
  size_t x_stride = 0;  // bytes
  float* y = nullptr;
  size_t y_stride = 0;       // floats
  size_t count = 0;          // below 2^32
  bool past_caches = false;  // y is more than the caches hold, and a cache line
};

// Forms of one layer, with the same bits as result.
enum class WalkForm {
  kOneByThreads,  // too few tokens for the threads: trees, then columns of the outputs, over the threads
  kFewTokens,     // tokens descend in lockstep, so that one computes while another's next row is on its way
  kGrouped,       // TreeWalk
};
WalkForm ChooseWalkForm(const NeuronTreeShape& shape, size_t tokens, size_t threads);

// For benches and tests alone: while it lives, fp32 calls of this thread take one form, whatever was measured. They do
// not nest.
class ForcedWalkForm {
 public:
  explicit ForcedWalkForm(WalkForm form);
  ~ForcedWalkForm();
  ForcedWalkForm(const ForcedWalkForm&) = delete;
  ForcedWalkForm& operator=(const ForcedWalkForm&) = delete;
};

// Whether one walk of all threads together is better than a walk by each.
bool WalkTogether(const NeuronTreeShape& shape, size_t tokens, size_t threads);

// Tokens of one TreeWalk.
size_t WalkGrain(const NeuronTreeShape& shape, size_t tokens, size_t threads);

// Whether outputs should be written past the caches, which asks for whole cache lines.
bool WalkPastCaches(const NeuronTreeShape& shape, const float* y, size_t tokens);

inline void PrefetchIntoL2(const void* row, size_t bytes) {
  for (size_t i = 0; i < bytes; i += kCacheLineBytes) __builtin_prefetch(static_cast<const std::byte*>(row) + i, 0, 2);
}

class TreeWalk {
 public:
  // Of the calling thread, until its next walk.
  TreeWalk(const NeuronTreeShape& shape, const TreeArithmetic& arithmetic, const TreeTokens& tokens);

  // y is overwritten. `trace` may be null.
  void Run(const NeuronTreeTrace* trace);

  // The same by all threads together, trees and then columns going over them: for few tokens, where each thread would
  // otherwise read all weights. Several trees only.
  void RunTogether(const NeuronTreeTrace* trace, ThreadPool& pool);

 private:
  using Group = std::span<uint32_t>;
  using PathNodes = std::array<uint32_t, 64>;  // of each level

  // Tokens that took one path, a range of a tree's `order`.
  struct PathGroup {
    uint32_t bottom, begin, count;
  };

  // A group of tokens, a range of a tree's `order`, that has come to a node.
  struct Stop {
    uint32_t node, level, begin, count;
  };

  // Kept by each thread from call to call; nodes count within their tree. What all threads of RunTogether() share:
  struct Scratch {
    AlignedArray<uint32_t> order;   // [tokens], of each tree if together
    AlignedArray<std::byte> terms;  // [trees, tokens in `order`, bytes] if together, or [kMostAtOnce, bytes]
    std::vector<std::vector<PathGroup>> groups;  // of each tree, if together
  };
  // What each needs for a tree:
  struct Work {
    AlignedArray<uint32_t> ends, sorted;  // [tokens]
    AlignedArray<uint8_t> turns;          // [tokens]
    AlignedArray<float> logits;           // [tokens, stride]
    std::vector<Stop> stops;              // of one descent, in order of levels
    std::vector<size_t> begins, next;     // of each subtree's tokens in `order`, one more at the end
  };
  static Scratch& ThreadScratch();
  static Work& ThreadWork();

  // A part of a tree that a group of tokens goes through, from level `first` up to `stop`.
  struct Part {
    Work& work;
    size_t tree, first, stop;
    size_t ahead;  // positions in `order` between a token and the one that is asked for
  };
  // The rows of some tokens of a group and those that are asked for meanwhile, null if none.
  struct Rows {
    std::array<const void*, TreeArithmetic::kMostAtOnce> x, next;
    const void* const* ahead = nullptr;
  };

  Group OrderOf(size_t tree) { return {scratch_.order.data() + (together_ ? tree * tokens_.count : 0), tokens_.count}; }
  void Paths(size_t first_tree, size_t last_tree, const NeuronTreeTrace* trace);
  // Through the part's levels from `node` on: ends[token] becomes the node below, or the bottom.
  void Descend(const Part& part, size_t node, Group group);
  // One level, or two at once; what is below is added to the stops.
  void Step(const Part& part, const Stop& stop);
  void StepTwo(const Part& part, const Stop& stop);
  bool TakesThree(const Part& part, const Stop& stop) const;
  void PrefetchIns(const Part& part, const Stop& stop) const;
  void PrefetchOuts(const Part& part, const Stop& stop) const;
  void RowsOf(const Part& part, size_t level, Group group, size_t first, size_t count, Rows& rows);
  void AtBottom(const Part& part, size_t bottom, Group group);
  // Outputs of all trees, from the groups that Paths() has found.
  void SumColumns(TreeArithmetic::Columns columns);
  void SumGroup(size_t tree, const PathGroup& group, const std::byte* terms, TreeArithmetic::Columns columns);
  void Terms(const Part& part, const PathGroup& group, std::byte* terms);
  PathNodes NodesOf(size_t tree, size_t bottom) const;
  void SortByEnd(const Part& part, size_t first_end, size_t ends);
  void WriteTrace(const Part& part, const NeuronTreeTrace& trace) const;

  const NeuronTreeShape& shape_;
  const TreeArithmetic& arithmetic_;
  const TreeTokens tokens_;
  const size_t stride_;      // of the logits
  const size_t term_bytes_;  // of a token's terms of one path
  bool together_ = false;
  Scratch& scratch_;
};

}  // namespace grove
