// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Which leaves of a tree a token visits, compiled once per target. The n most probable leaves are found without a
// queue:
//
//     1. The top levels of every token: a register-tiled product of all their nodes and a chunk of tokens.
//     2. Below the n most probable nodes that these reach, all decisions at once: the n-th of the leaves found there is
//        as probable as the n-th of all leaves or less.
//     3. Below the other nodes that are reached with its probability or more, the same. No other leaf can be among the
//     n.
//
// Trees too deep for all decisions below a node go on best-first from the top levels: a heap holds the roots of
// unexplored subtrees with the probability of reaching them, which bounds every leaf below.

#include <algorithm>
#include <cmath>
#include <vector>

#include "grove/kernels/leaf_decisions-inl.h"
#include "grove/kernels/leaf_router.h"
#include "grove/kernels/padded_rows.h"

#if defined(GROVE_KERNELS_LEAF_ROUTER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_LEAF_ROUTER_INL_H_
#undef GROVE_KERNELS_LEAF_ROUTER_INL_H_
#else
#define GROVE_KERNELS_LEAF_ROUTER_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Tokens whose top levels are one product: their rows fit the second-level cache.
inline constexpr size_t kRouterChunk = 64;
// Levels that are computed whole. One more computes twice as many nodes for every token, of which few are needed.
inline constexpr size_t kRouterTop = 5;
// So few tokens find the rows of a search in memory, not in a cache: all are asked for before the first is used.
inline constexpr size_t kRouterFew = 8;
// Levels below a node that are computed at once.
inline constexpr size_t kRouterBelow = 3;

// A place in the tree that the search has reached: a leaf, or the root of a subtree.
struct Reached {
  float log_p;
  uint32_t index;  // from the left, of its level
  // Of equals the leftmost.
  bool Before(const Reached& other) const {
    return log_p > other.log_p || (log_p == other.log_p && index < other.index);
  }
};

// The `most` first of those that it was offered.
class BestReached {
 public:
  void Start(size_t most) {
    most_ = most;
    size_ = 0;
    if (best_.size() < most + 1) best_.resize(most + 1);
  }
  HWY_INLINE void Offer(float log_p, size_t index) {
    const Reached next{log_p, static_cast<uint32_t>(index)};
    if (size_ == most_ && !next.Before(best_[size_ - 1])) return;
    size_t at = size_;
    for (; at > 0 && next.Before(best_[at - 1]); --at) best_[at] = best_[at - 1];
    best_[at] = next;
    size_ = std::min(size_ + 1, most_);
  }
  size_t size() const { return size_; }
  const Reached& operator[](size_t i) const { return best_[i]; }

 private:
  size_t most_ = 0, size_ = 0;
  std::vector<Reached> best_;
};

// Kept by each thread from call to call.
struct RouterScratch {
  AlignedArray<float> top, logits, right, left;  // decisions: of a chunk of tokens, of one token
  std::vector<const float*> x, rows;
  std::vector<float> reached;  // log probabilities of the places of the top levels, breadth-first
  std::vector<float> below;    // the same of one subtree
  std::vector<uint32_t> roots;
  BestReached nearest, found;

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

  // Room for so many decisions of one token.
  void Grow(size_t decisions) {
    const size_t padded = RoundUpToLine<float>(decisions);
    if (logits.size() >= padded) return;
    for (AlignedArray<float>* array : {&logits, &right, &left}) *array = AlignedArray<float>(padded);
  }
};

inline RouterScratch& ThreadRouterScratch() {
  static thread_local RouterScratch scratch;
  return scratch;
}

// Routes tokens through one tree.
class LeafRouter {
 public:
  LeafRouter(const PackedLeafRouter& router, size_t tree)
      : router_(router),
        shape_(router.shape()),
        first_node_(tree * router.shape().decisions()),
        first_leaf_(static_cast<uint32_t>(tree * router.shape().leaves())),
        top_(shape_.paths == shape_.leaves() ? shape_.depth : std::min(shape_.depth, kRouterTop)),
        scratch_(ThreadRouterScratch()) {}

  // Tokens first ... first + count - 1 of x; a token's leaves and gates stand `stride` after those of the one before.
  HWY_INLINE void Route(const PaddedInput& x, size_t first, size_t count, size_t stride, uint32_t* leaves,
                        float* gates) {
    const size_t decisions = (size_t{1} << top_) - 1, row = RoundUpToLine<float>(decisions);
    if (shape_.paths > 1) TopLogits(x, first, count, row);
    few_ = count <= kRouterFew;
    for (size_t t = 0; t < count; ++t, leaves += stride, gates += stride) {
      if (shape_.paths == 1) {
        DecidedLeaf(x.row(first + t), leaves, gates);
      } else {
        Search(x.row(first + t), scratch_.top.data() + t * row, leaves, gates);
      }
      if (shape_.gates == Gates::kProbability) {
        for (size_t s = 0; s < shape_.paths; ++s) gates[s] = std::exp(gates[s]);
      } else {
        Renormalize(gates);
      }
    }
  }

  // Of a node of this tree.
  HWY_INLINE float Logit(const float* x, size_t node) const {
    return DecisionProduct(x, Row(node), router_.row()) + Bias(node);
  }

 private:
  const float* Row(size_t node) const { return router_.node(first_node_ + node); }
  float Bias(size_t node) const { return router_.bias(first_node_ + node); }

  // scratch_.top [count, row] = logits of the top levels' nodes.
  HWY_INLINE void TopLogits(const PaddedInput& x, size_t first, size_t count, size_t row) {
    const size_t nodes = (size_t{1} << top_) - 1;
    if (scratch_.top.size() < count * row) scratch_.top = AlignedArray<float>(count * row);
    scratch_.x.clear(), scratch_.rows.clear();
    for (size_t t = 0; t < count; ++t) scratch_.x.push_back(x.row(first + t));
    for (size_t n = 0; n < nodes; ++n) scratch_.rows.push_back(Row(n));
    DecisionProducts(scratch_.x.data(), count, scratch_.rows.data(), nodes, router_.row(), scratch_.top.data(), row);
    for (size_t t = 0; t < count; ++t) {
      for (size_t n = 0; n < nodes; ++n) scratch_.top[t * row + n] += Bias(n);
    }
  }

  // This and Search() fill gates with log probabilities.
  HWY_INLINE void DecidedLeaf(const float* x, uint32_t* leaf, float* log_p) {
    size_t node = 0;
    scratch_.Grow(std::max<size_t>(shape_.depth, 1));
    for (size_t level = 0; level < shape_.depth; ++level) {
      const float logit = Logit(x, node);
      scratch_.logits[level] = std::abs(logit);
      node = logit > 0.0f ? 2 * node + 2 : 2 * node + 1;
    }
    *leaf = first_leaf_ + static_cast<uint32_t>(node - shape_.decisions());
    *log_p = 0.0f;
    if (shape_.gates != Gates::kProbability) return;  // a renormalized gate is 1
    LogTurns(scratch_.logits.data(), shape_.decision_scale, RoundUpToLine<float>(shape_.depth), scratch_.right.data(),
             scratch_.left.data());
    for (size_t level = 0; level < shape_.depth; ++level) *log_p += scratch_.right[level];
  }

  HWY_INLINE void Search(const float* x, const float* top, uint32_t* leaves, float* log_p) {
    const size_t inner = (size_t{1} << top_) - 1, reached = inner + 1;
    scratch_.Grow(inner);
    if (scratch_.reached.size() < inner + reached) scratch_.reached.resize(inner + reached);
    LogTurns(top, shape_.decision_scale, RoundUpToLine<float>(inner), scratch_.right.data(), scratch_.left.data());
    scratch_.reached[0] = 0.0f;
    Spread(scratch_.right.data(), scratch_.left.data(), inner, scratch_.reached.data());
    const float* places = scratch_.reached.data() + inner;
    if (shape_.paths == shape_.leaves()) {
      for (size_t leaf = 0; leaf < reached; ++leaf) leaves[leaf] = first_leaf_ + static_cast<uint32_t>(leaf);
      std::copy_n(places, reached, log_p);
      return;
    }
    scratch_.found.Start(shape_.paths);
    if (top_ == shape_.depth) {
      for (size_t leaf = 0; leaf < reached; ++leaf) scratch_.found.Offer(places[leaf], leaf);
    } else if (shape_.depth - top_ <= kRouterBelow) {
      BelowTop(x, places, reached);
    } else {
      BestFirst(x, places, reached);
    }
    for (size_t s = 0; s < shape_.paths; ++s) {
      leaves[s] = first_leaf_ + scratch_.found[s].index;
      log_p[s] = scratch_.found[s].log_p;
    }
  }

  // places[0] is the root's; the two below node n, breadth-first, are 2n + 1 and 2n + 2.
  HWY_INLINE static void Spread(const float* right, const float* left, size_t inner, float* places) {
    for (size_t n = 0; n < inner; ++n) {
      places[2 * n + 1] = places[n] + left[n];
      places[2 * n + 2] = places[n] + right[n];
    }
  }

  HWY_INLINE void BelowTop(const float* x, const float* places, size_t count) {
    const size_t first = std::min(shape_.paths, count);
    scratch_.nearest.Start(first);
    for (size_t i = 0; i < count; ++i) scratch_.nearest.Offer(places[i], i);
    static_assert(kRouterTop <= 6);
    uint64_t opened = 0;
    scratch_.roots.clear();
    for (size_t i = 0; i < first; ++i) {
      scratch_.roots.push_back(scratch_.nearest[i].index);
      opened |= uint64_t{1} << scratch_.nearest[i].index;
    }
    Open(x, places);
    const float least = scratch_.found[shape_.paths - 1].log_p;
    scratch_.roots.clear();
    for (size_t i = 0; i < count; ++i) {
      if (places[i] >= least && (opened >> i & 1) == 0) scratch_.roots.push_back(static_cast<uint32_t>(i));
    }
    if (!scratch_.roots.empty()) Open(x, places);
  }

  // Offers the leaves below scratch_.roots, places of the level below the top ones.
  HWY_INLINE void Open(const float* x, const float* places) {
    const size_t levels = shape_.depth - top_, inner = (size_t{1} << levels) - 1;
    const size_t nodes = scratch_.roots.size() * inner;
    scratch_.Grow(nodes);
    scratch_.rows.clear();
    for (const size_t root : scratch_.roots) {
      for (size_t n = 0; n < inner; ++n) scratch_.rows.push_back(Row(NodeBelow(root, n)));
    }
    if (few_) {
      for (const float* row : scratch_.rows) PrefetchDecision(row, router_.row());
    }
    DecisionProducts(&x, 1, scratch_.rows.data(), nodes, router_.row(), scratch_.logits.data(), nodes);
    float* logits = scratch_.logits.data();
    for (const size_t root : scratch_.roots) {
      for (size_t n = 0; n < inner; ++n) *logits++ += Bias(NodeBelow(root, n));
    }
    LogTurns(scratch_.logits.data(), shape_.decision_scale, RoundUpToLine<float>(nodes), scratch_.right.data(),
             scratch_.left.data());
    if (scratch_.below.size() < 2 * inner + 1) scratch_.below.resize(2 * inner + 1);
    for (size_t r = 0; r < scratch_.roots.size(); ++r) {
      const size_t root = scratch_.roots[r];
      scratch_.below[0] = places[root];
      Spread(scratch_.right.data() + r * inner, scratch_.left.data() + r * inner, inner, scratch_.below.data());
      for (size_t leaf = 0; leaf <= inner; ++leaf) {
        scratch_.found.Offer(scratch_.below[inner + leaf], (root << levels) + leaf);
      }
    }
  }

  // Node n, breadth-first, of the subtree whose root is the `root`-th place below the top levels.
  size_t NodeBelow(size_t root, size_t n) const {
    size_t level = 0;
    while (n + 1 >= size_t{2} << level) ++level;
    return (size_t{1} << (top_ + level)) - 1 + (root << level) + (n + 1 - (size_t{1} << level));
  }

  HWY_INLINE void BestFirst(const float* x, const float* places, size_t count) {
    std::vector<RouterScratch::Subtree>& heap = scratch_.heap;
    heap.clear();
    const auto below = static_cast<uint32_t>(shape_.leaves() / count);
    for (size_t i = 0; i < count; ++i) {
      const auto at = static_cast<uint32_t>(i);
      heap.push_back({places[i], static_cast<uint32_t>(count - 1) + at, at * below, below});
    }
    std::make_heap(heap.begin(), heap.end());
    scratch_.Grow(1);
    while (scratch_.found.size() < shape_.paths) {
      std::pop_heap(heap.begin(), heap.end());
      const RouterScratch::Subtree best = heap.back();
      heap.pop_back();
      if (best.leaves == 1) {
        scratch_.found.Offer(best.log_p, best.first_leaf);
        continue;
      }
      scratch_.logits[0] = Logit(x, best.node);
      LogTurns(scratch_.logits.data(), shape_.decision_scale, RoundUpToLine<float>(1), scratch_.right.data(),
               scratch_.left.data());
      const uint32_t half = best.leaves / 2;
      heap.push_back({best.log_p + scratch_.left[0], 2 * best.node + 1, best.first_leaf, half});
      std::push_heap(heap.begin(), heap.end());
      heap.push_back({best.log_p + scratch_.right[0], 2 * best.node + 2, best.first_leaf + half, half});
      std::push_heap(heap.begin(), heap.end());
    }
  }

  // log probabilities -> gates that sum to 1.
  HWY_INLINE void Renormalize(float* gates) const {
    if (shape_.paths == 1) {
      gates[0] = 1.0f;
      return;
    }
    const float largest = *std::max_element(gates, gates + shape_.paths);
    double total = 0;
    for (size_t s = 0; s < shape_.paths; ++s) total += gates[s] = std::exp(gates[s] - largest);
    for (size_t s = 0; s < shape_.paths; ++s) gates[s] = static_cast<float>(gates[s] / total);
  }

  const PackedLeafRouter& router_;
  const LeafRouterShape& shape_;
  const size_t first_node_;
  const uint32_t first_leaf_;
  const size_t top_;  // levels that are computed whole
  bool few_ = false;
  RouterScratch& scratch_;
};

inline void RouteLeavesSimd(const PackedLeafRouter& router, const float* x, size_t tokens,
                            const ExpertChoiceBuffers& choices, ThreadPool& pool) {
  const LeafRouterShape& shape = router.shape();
  const size_t share = (tokens + pool.threads() - 1) / pool.threads();
  pool.ParallelFor(tokens, std::clamp<size_t>(share, 1, kRouterChunk), [&](size_t begin, size_t end) {
    const PaddedInput input(x + begin * shape.width, end - begin, shape.width);
    for (size_t tree = 0; tree < shape.trees; ++tree) {
      const size_t at = (begin * shape.trees + tree) * shape.paths;
      LeafRouter(router, tree)
          .Route(input, 0, end - begin, shape.leaves_per_token(), choices.chosen + at, choices.gates + at);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_LEAF_ROUTER_INL_H_
