// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Many tokens through neuron trees, grouped by subtree so that a weight row that has been brought near is used by every
// token that needs it. For each tree:
//
//     1. The top levels, in chunks of tokens that fit the second-level cache beside those levels' rows.
//     2. The tokens are sorted by the subtree they have reached.
//     3. Each subtree takes its tokens, depth first: at every node they share its row, and at the bottom all tokens of
//     a
//        group have taken one path, so that their outputs are one small product.
//
// Each token is read from memory twice; the arithmetic asks for the next ones while it computes. Nothing of a token's
// sums depends on its group: results are the bits that the token gets alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "grove/base/aligned.h"
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

// Tokens of one TreeWalk.
size_t WalkGrain(const NeuronTreeShape& shape, size_t tokens, size_t threads);

// Whether outputs should be written past the caches, which asks for whole cache lines.
bool WalkPastCaches(const NeuronTreeShape& shape, const float* y, size_t tokens);

inline void PrefetchIntoL2(const void* row, size_t bytes) {
  for (size_t i = 0; i < bytes; i += kCacheLineBytes) __builtin_prefetch(static_cast<const std::byte*>(row) + i, 0, 2);
}

class TreeWalk {
 public:
  TreeWalk(const NeuronTreeShape& shape, const TreeArithmetic& arithmetic);

  // y is overwritten. `trace` may be null.
  void Run(const TreeTokens& tokens, const NeuronTreeTrace* trace);

 private:
  using Group = std::span<uint32_t>;

  // Kept by each thread from call to call.
  struct Scratch {
    std::vector<uint32_t> order, sorted, ends;  // [tokens]; nodes count within the tree
    std::vector<size_t> begins, next;           // of each subtree's tokens in `order`, one more at the end
    AlignedArray<float> logits;                 // [tokens, stride]
  };
  static Scratch& ThreadScratch();

  void WalkTree();
  // Through the levels from `level` on, up to `stop`, where ends_[token] becomes the node below; at the bottom the
  // outputs are added.
  void Descend(size_t node, size_t level, size_t stop, Group group);
  void Output(size_t bottom, Group group);
  void SortByEnd(size_t first_end, size_t ends);
  void WriteTrace(const NeuronTreeTrace& trace) const;
  const std::byte* Ahead(size_t position, size_t level) const;

  const NeuronTreeShape& shape_;
  const TreeArithmetic& arithmetic_;
  TreeTokens tokens_;
  size_t tree_ = 0;
  size_t stride_;           // of the logits
  size_t first_level_ = 0;  // of this part of the tree
  size_t ahead_ = 0;        // positions in `order` between a token and the one asked for
  Scratch& scratch_;
};

}  // namespace grove
