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
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "grove/kernels/leaf_decisions-inl.h"
#include "grove/kernels/leaf_router.h"
#include "grove/kernels/padded_rows.h"
#include "grove/kernels/router_scratch-inl.h"

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
// Levels that are computed whole. One more computes twice as many nodes for every token, of which few are needed: that
// is done where it spares the search with a heap.
inline constexpr size_t kRouterTop = 5;
// So few tokens find the rows of a search in memory, not in a cache: all are asked for before the first is used.
inline constexpr size_t kRouterFew = 8;
// Levels below a node that are computed at once.
inline constexpr size_t kRouterBelow = 4;

inline size_t TopLevelsOf(size_t depth) {
  return std::min(depth, depth > kRouterTop + kRouterBelow ? kRouterTop + 1 : kRouterTop);
}

// Decision nodes of a router, in floats.
class FloatNodes {
 public:
  explicit FloatNodes(const PackedLeafRouter& router) : router_(router), scratch_(ThreadRouterScratch()) {}

  // Levels from the root that are computed whole.
  static size_t TopLevels(size_t depth) { return TopLevelsOf(depth); }

  // logits[t][i] of the i-th of `nodes` and token x[t]; Top() of the nodes from `first` on.
  HWY_INLINE void Logits(std::span<const uint32_t> nodes, const void* const* x, size_t tokens,
                         float* const* logits) const {
    scratch_.rows.clear(), scratch_.biases.clear();
    for (const uint32_t n : nodes) scratch_.rows.push_back(router_.node(n)), scratch_.biases.push_back(router_.bias(n));
    DecisionLogits({scratch_.rows.data(), scratch_.biases.data(), nodes.size()},
                   reinterpret_cast<const float* const*>(x), tokens, router_.row(), logits);
  }
  HWY_INLINE void Top(size_t first, size_t count, const void* const* x, size_t tokens, float* const* logits) const {
    scratch_.nodes.resize(count);
    std::iota(scratch_.nodes.begin(), scratch_.nodes.end(), static_cast<uint32_t>(first));
    Logits(scratch_.nodes, x, tokens, logits);
  }
  HWY_INLINE float Logit(size_t node, const void* x) const {
    return DecisionLogit(static_cast<const float*>(x), router_.node(node), router_.bias(node), router_.row());
  }
  void Prefetch(size_t node) const { PrefetchDecision(router_.node(node), router_.row()); }

 private:
  const PackedLeafRouter& router_;
  RouterScratch& scratch_;
};

// Routes tokens through one tree. Nodes: as FloatNodes, of rows in some form.
template <class Nodes>
class LeafRouter {
 public:
  LeafRouter(const Nodes& nodes, const LeafRouterShape& shape, size_t tree)
      : nodes_(nodes),
        shape_(shape),
        first_node_(tree * shape.decisions()),
        first_leaf_(static_cast<uint32_t>(tree * shape.leaves())),
        top_(shape_.paths == shape_.leaves() ? shape_.depth : Nodes::TopLevels(shape_.depth)),
        scratch_(ThreadRouterScratch()) {}

  // A token's leaves and gates stand `stride` after those of the one before.
  HWY_INLINE void Route(const void* const* x, size_t tokens, size_t stride, uint32_t* leaves, float* gates) {
    if (shape_.paths == 1) {
      for (size_t t = 0; t < tokens; ++t) DecidedLeaf(x[t], leaves + t * stride, gates + t * stride);
    } else {
      Search(x, tokens, stride, leaves, gates);
    }
    for (size_t t = 0; t < tokens; ++t, gates += stride) {
      if (shape_.gates == Gates::kProbability) {
        for (size_t s = 0; s < shape_.paths; ++s) gates[s] = ExactExpOf(gates[s]);
      } else {
        Renormalize(gates);
      }
    }
  }

  // Of a node of this tree.
  HWY_INLINE float Logit(const void* x, size_t node) const { return nodes_.Logit(first_node_ + node, x); }

 private:
  size_t TopNodes() const { return (size_t{1} << top_) - 1; }
  size_t Places() const { return size_t{1} << top_; }  // below the top levels

  // This and Search() fill gates with log probabilities.
  HWY_INLINE void DecidedLeaf(const void* x, uint32_t* leaf, float* log_p) {
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

  HWY_INLINE void Search(const void* const* x, size_t tokens, size_t stride, uint32_t* leaves, float* log_p) {
    scratch_.x.assign(x, x + tokens);
    TopLevels(tokens);
    if (shape_.paths == shape_.leaves()) return AllLeaves(tokens, stride, leaves, log_p);
    AtLeast(scratch_.found, tokens * shape_.paths);
    scratch_.best.clear();
    for (size_t t = 0; t < tokens; ++t) {
      scratch_.best.emplace_back(scratch_.found.data() + t * shape_.paths, shape_.paths);
    }
    if (top_ == shape_.depth) {
      const auto leaf = [](size_t at) { return at; };
      for (size_t t = 0; t < tokens; ++t) OfferAll(PlacesOf(t), Places(), leaf, scratch_.best[t]);
    } else if (shape_.depth - top_ <= kRouterBelow) {
      BelowTop(tokens);
    } else {
      for (size_t t = 0; t < tokens; ++t) BestFirst(t);
    }
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t s = 0; s < shape_.paths; ++s) {
        leaves[t * stride + s] = first_leaf_ + scratch_.best[t][s].index;
        log_p[t * stride + s] = scratch_.best[t][s].log_p;
      }
    }
  }

  void AllLeaves(size_t tokens, size_t stride, uint32_t* leaves, float* log_p) const {
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t leaf = 0; leaf < shape_.leaves(); ++leaf) {
        leaves[t * stride + leaf] = first_leaf_ + static_cast<uint32_t>(leaf);
        log_p[t * stride + leaf] = PlacesOf(t)[leaf];
      }
    }
  }

  // index(i): which leaf or place the i-th is.
  template <class Index>
  HWY_INLINE void OfferAll(const float* log_p, size_t count, const Index& index, BestReached& best) const {
    const auto take = [&](float p, size_t at) HWY_ATTR { best.Append(p, index(at)); };
    if (best.size() == 0 && TakeLargest(log_p, count, shape_.paths, take)) return;
    for (size_t at = 0; at < count; ++at) best.Offer(log_p[at], index(at));
  }

  // Log probabilities of a token's places below the top levels.
  const float* PlacesOf(size_t token) const { return scratch_.reached.data() + token * Places(); }

  HWY_INLINE void TopLevels(size_t tokens) {
    const size_t nodes = TopNodes(), row = RoundUpToLine<float>(nodes);
    for (AlignedArray<float>* array : {&scratch_.top, &scratch_.top_right, &scratch_.top_left}) {
      AtLeast(*array, tokens * row);
    }
    AtLeast(scratch_.reached, tokens * Places());
    scratch_.targets.clear();
    for (size_t t = 0; t < tokens; ++t) scratch_.targets.push_back(scratch_.top.data() + t * row);
    nodes_.Top(first_node_, nodes, scratch_.x.data(), tokens, scratch_.targets.data());
    LogTurns(scratch_.top.data(), shape_.decision_scale, tokens * row, scratch_.top_right.data(),
             scratch_.top_left.data());
    for (size_t t = 0; t < tokens; ++t) {
      float* reached = scratch_.reached.data() + t * Places();
      reached[0] = 0.0f;
      SpreadDown(scratch_.top_right.data() + t * row, scratch_.top_left.data() + t * row, top_, reached);
    }
  }

  HWY_INLINE void BelowTop(size_t tokens) {
    static_assert(kRouterTop + 1 <= 6, "a bit for each place");
    const size_t first = std::min(shape_.paths, Places());
    AtLeast(scratch_.nearest, first);
    scratch_.opened.assign(tokens, 0);
    StartRoots();
    for (size_t t = 0; t < tokens; ++t) {
      scratch_.opened[t] = Nearest(t, first);
      PushRoots(scratch_.opened[t]);
      scratch_.begins.push_back(static_cast<uint32_t>(scratch_.roots.size()));
    }
    Open(tokens);
    StartRoots();
    for (size_t t = 0; t < tokens; ++t) {
      const float least = scratch_.best[t][shape_.paths - 1].log_p;
      PushRoots(BitsOfAtLeast(PlacesOf(t), Places(), least) & ~scratch_.opened[t]);
      scratch_.begins.push_back(static_cast<uint32_t>(scratch_.roots.size()));
    }
    Open(tokens);
  }

  // Bits of the `first` most probable places.
  HWY_INLINE uint64_t Nearest(size_t token, size_t first) {
    uint64_t bits = 0;
    const auto take = [&](float, size_t i) HWY_ATTR { bits |= uint64_t{1} << i; };
    TakeLargest(PlacesOf(token), Places(), first, take);
    if (static_cast<size_t>(std::popcount(bits)) == first) return bits;
    bits = 0;  // it takes longer lists, or meets what are no numbers
    BestReached nearest(scratch_.nearest.data(), first);
    for (size_t i = 0; i < Places(); ++i) nearest.Offer(PlacesOf(token)[i], i);
    for (size_t i = 0; i < first; ++i) bits |= uint64_t{1} << nearest[i].index;
    return bits;
  }

  void PushRoots(uint64_t bits) {
    for (; bits != 0; bits &= bits - 1) scratch_.roots.push_back(static_cast<uint32_t>(std::countr_zero(bits)));
  }

  void StartRoots() {
    scratch_.roots.clear();
    scratch_.begins.assign(1, 0);
  }

  // Offers each token the leaves below its scratch_.roots.
  HWY_INLINE void Open(size_t tokens) {
    const size_t levels = shape_.depth - top_, inner = (size_t{1} << levels) - 1;
    const size_t nodes = scratch_.roots.size() * inner;
    if (nodes == 0) return;
    scratch_.Grow(nodes);
    OpenedLogits(tokens, levels);
    LogTurns(scratch_.logits.data(), shape_.decision_scale, RoundUpToLine<float>(nodes), scratch_.right.data(),
             scratch_.left.data());
    for (size_t t = 0; t < tokens; ++t) OfferOpened(t, levels);
  }

  // The leaves below a token's roots, which are in order.
  HWY_INLINE void OfferOpened(size_t token, size_t levels) {
    const size_t leaves = size_t{1} << levels, first = scratch_.begins[token], last = scratch_.begins[token + 1];
    const size_t count = (last - first) * leaves;
    scratch_.below.resize(count);
    for (size_t r = first; r < last; ++r) {
      float* below = scratch_.below.data() + (r - first) * leaves;
      below[0] = PlacesOf(token)[scratch_.roots[r]];
      SpreadDown(scratch_.right.data() + r * (leaves - 1), scratch_.left.data() + r * (leaves - 1), levels, below);
    }
    const auto index = [&](size_t at) { return (scratch_.roots[first + (at >> levels)] << levels) + at % leaves; };
    OfferAll(scratch_.below.data(), count, index, scratch_.best[token]);
  }

  // scratch_.logits [roots, inner nodes]: tokens that open the same subtree share its rows.
  HWY_INLINE void OpenedLogits(size_t tokens, size_t levels) {
    const size_t inner = (size_t{1} << levels) - 1;
    SortByRoot();
    scratch_.targets.clear(), scratch_.group_x.clear();
    for (size_t t = 0; t < tokens; ++t) {
      scratch_.group_x.insert(scratch_.group_x.end(), scratch_.begins[t + 1] - scratch_.begins[t], scratch_.x[t]);
    }
    if (tokens <= kRouterFew) {
      for (const uint32_t root : scratch_.roots) PrefetchSubtree(root, levels);
    }
    std::vector<const void*>& x = scratch_.rows_x;
    for (size_t begin = 0, end = 0; begin < scratch_.by_root.size(); begin = end) {
      const size_t root = scratch_.roots[scratch_.by_root[begin]];
      x.clear(), scratch_.targets.clear();
      for (; end < scratch_.by_root.size() && scratch_.roots[scratch_.by_root[end]] == root; ++end) {
        x.push_back(scratch_.group_x[scratch_.by_root[end]]);
        scratch_.targets.push_back(scratch_.logits.data() + scratch_.by_root[end] * inner);
      }
      scratch_.nodes.clear();
      ForEachBelow(root, levels, [&](size_t n) { scratch_.nodes.push_back(static_cast<uint32_t>(first_node_ + n)); });
      nodes_.Logits(scratch_.nodes, x.data(), x.size(), scratch_.targets.data());
    }
  }

  void SortByRoot() {
    scratch_.nexts.assign(Places() + 1, 0);
    for (const uint32_t root : scratch_.roots) ++scratch_.nexts[root + 1];
    std::partial_sum(scratch_.nexts.begin(), scratch_.nexts.end(), scratch_.nexts.begin());
    scratch_.by_root.resize(scratch_.roots.size());
    for (size_t r = 0; r < scratch_.roots.size(); ++r) {
      scratch_.by_root[scratch_.nexts[scratch_.roots[r]]++] = static_cast<uint32_t>(r);
    }
  }

  // Calls body(node) for the nodes, breadth-first, of the subtree whose root is the `root`-th place.
  template <class Body>
  void ForEachBelow(size_t root, size_t levels, const Body& body) const {
    for (size_t level = 0; level < levels; ++level) {
      const size_t first = (size_t{1} << (top_ + level)) - 1 + (root << level);
      for (size_t n = first; n < first + (size_t{1} << level); ++n) body(n);
    }
  }
  void PrefetchSubtree(size_t root, size_t levels) const {
    ForEachBelow(root, levels, [&](size_t n) { nodes_.Prefetch(first_node_ + n); });
  }

  HWY_INLINE void BestFirst(size_t token) {
    std::vector<RouterScratch::Subtree>& heap = scratch_.heap;
    BestReached& best = scratch_.best[token];
    heap.clear();
    const auto below = static_cast<uint32_t>(shape_.leaves() / Places());
    for (size_t i = 0; i < Places(); ++i) {
      const auto at = static_cast<uint32_t>(i);
      heap.push_back({PlacesOf(token)[i], static_cast<uint32_t>(TopNodes()) + at, at * below, below});
    }
    std::make_heap(heap.begin(), heap.end());
    scratch_.Grow(1);
    while (best.size() < shape_.paths) {
      std::pop_heap(heap.begin(), heap.end());
      const RouterScratch::Subtree subtree = heap.back();
      heap.pop_back();
      if (subtree.leaves == 1) {
        best.Offer(subtree.log_p, subtree.first_leaf);
        continue;
      }
      scratch_.logits[0] = Logit(scratch_.x[token], subtree.node);
      LogTurns(scratch_.logits.data(), shape_.decision_scale, RoundUpToLine<float>(1), scratch_.right.data(),
               scratch_.left.data());
      const uint32_t half = subtree.leaves / 2;
      heap.push_back({subtree.log_p + scratch_.left[0], 2 * subtree.node + 1, subtree.first_leaf, half});
      std::push_heap(heap.begin(), heap.end());
      heap.push_back({subtree.log_p + scratch_.right[0], 2 * subtree.node + 2, subtree.first_leaf + half, half});
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
    for (size_t s = 0; s < shape_.paths; ++s) total += gates[s] = ExactExpOf(gates[s] - largest);
    for (size_t s = 0; s < shape_.paths; ++s) gates[s] = static_cast<float>(gates[s] / total);
  }

  const Nodes& nodes_;
  const LeafRouterShape& shape_;
  const size_t first_node_;
  const uint32_t first_leaf_;
  const size_t top_;  // levels that are computed whole
  RouterScratch& scratch_;
};

// Choices of tokens for every tree; x: their rows in the form of `nodes`, at most kRouterChunk.
template <class Nodes>
HWY_INLINE void RouteRows(const Nodes& nodes, const LeafRouterShape& shape, const void* const* x, size_t tokens,
                          const ExpertChoiceBuffers& choices) {
  for (size_t tree = 0; tree < shape.trees; ++tree) {
    const size_t at = tree * shape.paths;
    LeafRouter(nodes, shape, tree).Route(x, tokens, shape.leaves_per_token(), choices.chosen + at, choices.gates + at);
  }
}

inline void RouteLeavesSimd(const PackedLeafRouter& router, const float* x, size_t tokens,
                            const ExpertChoiceBuffers& choices, ThreadPool& pool) {
  const LeafRouterShape& shape = router.shape();
  const size_t share = (tokens + pool.threads() - 1) / pool.threads();
  pool.ParallelFor(tokens, std::clamp<size_t>(share, 1, kRouterChunk), [&](size_t begin, size_t end) {
    const PaddedInput input(x + begin * shape.width, end - begin, shape.width);
    std::array<const void*, kRouterChunk> rows;
    for (size_t t = begin; t < end; ++t) rows[t - begin] = input.row(t - begin);
    const size_t at = begin * shape.leaves_per_token();
    RouteRows(FloatNodes(router), shape, rows.data(), end - begin, {choices.chosen + at, choices.gates + at});
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_LEAF_ROUTER_INL_H_
