// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Which leaves of a tree a token visits, compiled once per target. The n most probable leaves are found best-first: a
// heap holds the roots of unexplored subtrees with the probability of reaching them, which bounds every leaf below.
// Decisions are computed only where the search goes: about n (depth - log2 n) + 2n of them.

#include <algorithm>
#include <cmath>
#include <vector>

#include "grove/kernels/leaf_router.h"
#include "grove/kernels/padded_rows.h"
#include "grove/kernels/simd-inl.h"

#if defined(GROVE_KERNELS_LEAF_ROUTER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_LEAF_ROUTER_INL_H_
#undef GROVE_KERNELS_LEAF_ROUTER_INL_H_
#else
#define GROVE_KERNELS_LEAF_ROUTER_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Natural logarithm of sigmoid(z).
HWY_INLINE float LogSigmoid(float z) { return std::min(z, 0.0f) - std::log1p(std::exp(-std::abs(z))); }

// Routes one token after the other through one tree.
class LeafRouter {
 public:
  LeafRouter(const PackedLeafRouter& router, size_t tree)
      : router_(router),
        shape_(router.shape()),
        first_node_(tree * router.shape().decisions()),
        first_leaf_(static_cast<uint32_t>(tree * router.shape().leaves())) {}

  // x is a padded row; leaves and gates have shape.paths entries.
  HWY_INLINE void Route(const float* x, uint32_t* leaves, float* gates) {
    if (shape_.paths == 1) {
      DecidedLeaf(x, leaves, gates);
    } else if (shape_.paths == shape_.leaves()) {
      AllLeaves(x, leaves, gates);
    } else {
      BestLeaves(x, leaves, gates);
    }
    if (shape_.gates == Gates::kProbability) {
      for (size_t s = 0; s < shape_.paths; ++s) gates[s] = std::exp(gates[s]);
    } else {
      Renormalize(gates);
    }
  }

  // Of a node of this tree.
  HWY_INLINE float Logit(const float* x, size_t node) const {
    return Dot(router_.node(first_node_ + node), x, router_.row()) + router_.bias(first_node_ + node);
  }

 private:
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

  // These three fill gates with log probabilities.
  HWY_INLINE void DecidedLeaf(const float* x, uint32_t* leaf, float* log_p) const {
    const bool wanted = shape_.gates == Gates::kProbability;  // a renormalized gate is 1
    size_t node = 0;
    float sum = 0.0f;
    for (size_t level = 0; level < shape_.depth; ++level) {
      const float logit = Logit(x, node);
      if (wanted) sum += LogSigmoid(shape_.decision_scale * std::abs(logit));
      node = logit > 0.0f ? 2 * node + 2 : 2 * node + 1;
    }
    *leaf = first_leaf_ + static_cast<uint32_t>(node - shape_.decisions());
    *log_p = sum;
  }

  HWY_INLINE void AllLeaves(const float* x, uint32_t* leaves, float* log_p) {
    reached_.assign(shape_.decisions() + shape_.leaves(), 0.0f);
    for (size_t node = 0; node < shape_.decisions(); ++node) {
      const float z = shape_.decision_scale * Logit(x, node);
      const float log_right = LogSigmoid(z);
      reached_[2 * node + 1] = reached_[node] + log_right - z;  // log sigmoid(-z) = log sigmoid(z) - z
      reached_[2 * node + 2] = reached_[node] + log_right;
    }
    for (size_t leaf = 0; leaf < shape_.leaves(); ++leaf) {
      leaves[leaf] = first_leaf_ + static_cast<uint32_t>(leaf);
      log_p[leaf] = reached_[shape_.decisions() + leaf];
    }
  }

  HWY_INLINE void BestLeaves(const float* x, uint32_t* leaves, float* log_p) {
    heap_.assign(1, Subtree{0.0f, 0, 0, static_cast<uint32_t>(shape_.leaves())});
    for (size_t found = 0; found < shape_.paths;) {
      std::pop_heap(heap_.begin(), heap_.end());
      const Subtree best = heap_.back();
      heap_.pop_back();
      if (best.leaves == 1) {
        leaves[found] = first_leaf_ + best.first_leaf;
        log_p[found++] = best.log_p;
        continue;
      }
      const float z = shape_.decision_scale * Logit(x, best.node);
      const float log_right = LogSigmoid(z);
      const uint32_t half = best.leaves / 2;
      heap_.push_back({best.log_p + log_right - z, 2 * best.node + 1, best.first_leaf, half});
      std::push_heap(heap_.begin(), heap_.end());
      heap_.push_back({best.log_p + log_right, 2 * best.node + 2, best.first_leaf + half, half});
      std::push_heap(heap_.begin(), heap_.end());
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
  std::vector<Subtree> heap_;
  std::vector<float> reached_;
};

inline void RouteLeavesSimd(const PackedLeafRouter& router, const float* x, size_t tokens,
                            const ExpertChoiceBuffers& choices, ThreadPool& pool) {
  const LeafRouterShape& shape = router.shape();
  constexpr size_t kGrain = 64;
  pool.ParallelFor(tokens, kGrain, [&](size_t begin, size_t end) {
    const PaddedInput input(x + begin * shape.width, end - begin, shape.width);
    for (size_t tree = 0; tree < shape.trees; ++tree) {
      LeafRouter route(router, tree);
      for (size_t t = begin; t < end; ++t) {
        const size_t at = (t * shape.trees + tree) * shape.paths;
        route.Route(input.row(t - begin), choices.chosen + at, choices.gates + at);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_LEAF_ROUTER_INL_H_
