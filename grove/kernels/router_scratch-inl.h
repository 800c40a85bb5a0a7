// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Memory of the search for leaves (leaf_router-inl.h), compiled once per target.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/kernels/few_largest-inl.h"

#if defined(GROVE_KERNELS_ROUTER_SCRATCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_ROUTER_SCRATCH_INL_H_
#undef GROVE_KERNELS_ROUTER_SCRATCH_INL_H_
#else
#define GROVE_KERNELS_ROUTER_SCRATCH_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Kept by each thread from call to call. Arrays of a chunk of tokens.
struct RouterScratch {
  AlignedArray<float> top, top_right, top_left;  // [tokens, whole lines of the top levels' nodes]
  AlignedArray<float> logits, right, left;       // of opened subtrees [roots, their nodes], or of a path
  AlignedArray<float> reached;           // log probabilities of the places below the top levels [tokens, places]
  AlignedArray<Reached> found, nearest;  // [tokens, paths]; [paths]
  std::vector<BestReached> best;         // over `found`
  std::vector<const void*> x, rows_x, group_x;
  std::vector<const float*> rows;  // FloatNodes
  std::vector<float> biases;       // FloatNodes
  std::vector<uint32_t> nodes;     // whose logits are wanted
  std::vector<float*> targets;
  std::vector<float> below;              // log probabilities of a token's opened leaves
  std::vector<uint64_t> opened;          // bit i: the i-th place below the top levels
  std::vector<uint32_t> roots;           // places to be opened, token after token
  std::vector<uint32_t> begins;          // of each token's in `roots`, one more at the end
  std::vector<uint32_t> by_root, nexts;  // positions in `roots` sorted by root

  struct Subtree {
    float log_p;          // of reaching its root
    uint32_t node;        // index of its root; from `decisions` on, a leaf
    uint32_t first_leaf;  // leftmost leaf below
    uint32_t leaves;      // leaves below
    // Heap order: the most probable on top, of equals the leftmost.
    bool operator<(const Subtree& other) const {
      return log_p != other.log_p ? log_p < other.log_p : first_leaf > other.first_leaf;
    }
  };
  std::vector<Subtree> heap;

  // Room for so many decisions.
  void Grow(size_t decisions) {
    for (AlignedArray<float>* array : {&logits, &right, &left}) AtLeast(*array, RoundUpToLine<float>(decisions));
  }
};

inline RouterScratch& ThreadRouterScratch() {
  static thread_local RouterScratch scratch;
  return scratch;
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_ROUTER_SCRATCH_INL_H_
