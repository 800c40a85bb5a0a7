// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// To be read beside arXiv 2308.14711, section 2, and the equations of leaf_router.h. Slow on purpose: every decision
// and every leaf is looked at for every token.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "grove/kernels/reference_parts.h"

namespace grove {
namespace {

using reference::DecisionLogits;
using reference::ForEachDecision;
using reference::LogSigmoid;

// Natural logarithm of every leaf's path probability.
std::vector<double> LogProbabilities(const LeafRouterShape& shape, const std::vector<double>& logits) {
  std::vector<double> log_p(shape.leaves());
  for (size_t leaf = 0; leaf < log_p.size(); ++leaf) {
    ForEachDecision(shape, leaf, [&](size_t node, bool right) {
      const double z = shape.decision_scale * logits[node];
      log_p[leaf] += LogSigmoid(right ? z : -z);
    });
  }
  return log_p;
}

size_t DecidedLeaf(const LeafRouterShape& shape, const std::vector<double>& logits) {
  size_t node = 0;
  for (size_t level = 0; level < shape.depth; ++level) node = logits[node] > 0 ? 2 * node + 2 : 2 * node + 1;
  return node - shape.decisions();
}

// The leaves of one tree in the order that RouteLeaves() promises.
std::vector<size_t> VisitedLeaves(const LeafRouterShape& shape, const std::vector<double>& logits,
                                  const std::vector<double>& log_p) {
  if (shape.paths == 1) return {DecidedLeaf(shape, logits)};
  std::vector<size_t> order(shape.leaves());
  std::iota(order.begin(), order.end(), size_t{0});
  if (shape.paths < shape.leaves()) {  // stable: of equal leaves the left one
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return log_p[a] > log_p[b]; });
    order.resize(shape.paths);
  }
  return order;
}

}  // namespace

void RouteLeavesReference(const LeafRouterShape& shape, const LeafRouterWeights& weights, const float* x, size_t tokens,
                          uint32_t* leaves, double* gates) {
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t tree = 0; tree < shape.trees; ++tree, leaves += shape.paths, gates += shape.paths) {
      const std::vector<double> logits = DecisionLogits(shape, weights, x + t * shape.width, tree);
      const std::vector<double> log_p = LogProbabilities(shape, logits);
      const std::vector<size_t> visited = VisitedLeaves(shape, logits, log_p);
      double largest = -INFINITY, total = 0;
      for (const size_t leaf : visited) largest = std::max(largest, log_p[leaf]);
      for (const size_t leaf : visited) total += std::exp(log_p[leaf] - largest);
      for (size_t s = 0; s < visited.size(); ++s) {
        const double log_gate = log_p[visited[s]];
        leaves[s] = static_cast<uint32_t>(tree * shape.leaves() + visited[s]);
        gates[s] = shape.gates == Gates::kProbability ? std::exp(log_gate) : std::exp(log_gate - largest) / total;
      }
    }
  }
}

}  // namespace grove
