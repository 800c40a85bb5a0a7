// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// To be read beside arXiv 2311.10770, algorithm 1. Slow on purpose: one token, one tree, one level at a time.
#include <algorithm>
#include <vector>

#include "grove/kernels/neuron_tree.h"

namespace grove {
namespace {

struct Visit {
  size_t node;  // among all trees
  double logit;
};

// The decided path of token x through one tree.
std::vector<Visit> Descend(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, const float* x,
                           size_t tree) {
  std::vector<Visit> path;
  size_t node = 0;
  for (size_t level = 0; level < shape.levels(); ++level) {
    const size_t n = tree * shape.nodes_per_tree() + node;
    double logit = weights.b_in ? weights.b_in[n] : 0.0;
    for (size_t i = 0; i < shape.width; ++i) logit += double{weights.w_in[n * shape.width + i]} * x[i];
    path.push_back({n, logit});
    node = logit > 0 ? 2 * node + 2 : 2 * node + 1;
  }
  return path;
}

}  // namespace

void NeuronTreeForwardReference(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, const float* x,
                                size_t tokens, float* y, const NeuronTreeTrace* trace) {
  std::vector<double> sum(shape.width);
  for (size_t t = 0; t < tokens; ++t) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (size_t tree = 0; tree < shape.trees; ++tree) {
      const std::vector<Visit> path = Descend(shape, weights, x + t * shape.width, tree);
      for (size_t level = 0; level < path.size(); ++level) {
        const auto [n, logit] = path[level];
        for (size_t i = 0; i < shape.width; ++i) {
          sum[i] += Activate(shape.activation, logit) * weights.w_out[i * shape.nodes() + n];
          if (shape.two_sided) sum[i] += Activate(shape.activation, -logit) * weights.w_out_left[i * shape.nodes() + n];
        }
        if (trace) {
          const size_t at = (t * shape.trees + tree) * shape.levels() + level;
          trace->nodes[at] = static_cast<uint32_t>(n);
          trace->logits[at] = static_cast<float>(logit);
        }
      }
    }
    for (size_t i = 0; i < shape.width; ++i) y[t * shape.width + i] = static_cast<float>(sum[i]);
  }
}

void NeuronTreeForwardAlongReference(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, const float* x,
                                     size_t tokens, const uint32_t* ends, float* y) {
  std::vector<uint32_t> nodes;
  for (size_t p = 0; p < tokens * shape.trees; ++p) {
    const size_t tree = p % shape.trees, bottom = ends[p] - (tree << shape.depth);
    size_t node = 0;
    nodes.push_back(static_cast<uint32_t>(tree * shape.nodes_per_tree()));
    for (size_t level = 0; level < shape.depth; ++level) {
      node = (bottom >> (shape.depth - 1 - level)) & 1 ? 2 * node + 2 : 2 * node + 1;
      nodes.push_back(static_cast<uint32_t>(tree * shape.nodes_per_tree() + node));
    }
  }
  GatheredNeuronsReference(shape.neurons(), weights.neurons(), x, tokens, nodes.data(), nullptr,
                           shape.trees * shape.levels(), y);
}

void NeuronTreeBackwardReference(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, const float* x,
                                 const float* dy, size_t tokens, const NeuronTreeGradients& gradients) {
  const size_t width = shape.width, nodes = shape.nodes();
  std::vector<double> dx(tokens * width), dw_in(nodes * width), db_in(nodes), dw_out(width * nodes);
  std::vector<double> dw_out_left(shape.two_sided ? width * nodes : 0);
  for (size_t t = 0; t < tokens; ++t) {
    const float* xt = x + t * width;
    const float* dyt = dy + t * width;
    for (size_t tree = 0; tree < shape.trees; ++tree) {
      for (const auto [n, logit] : Descend(shape, weights, xt, tree)) {
        double right = 0, left = 0;  // gradients of act(l) and act(-l)
        for (size_t i = 0; i < width; ++i) {
          right += double{dyt[i]} * weights.w_out[i * nodes + n];
          dw_out[i * nodes + n] += dyt[i] * Activate(shape.activation, logit);
          if (!shape.two_sided) continue;
          left += double{dyt[i]} * weights.w_out_left[i * nodes + n];
          dw_out_left[i * nodes + n] += dyt[i] * Activate(shape.activation, -logit);
        }
        double dlogit = right * ActivateDerivative(shape.activation, logit);
        if (shape.two_sided) dlogit -= left * ActivateDerivative(shape.activation, -logit);
        db_in[n] += dlogit;
        for (size_t i = 0; i < width; ++i) {
          dw_in[n * width + i] += dlogit * xt[i];
          dx[t * width + i] += dlogit * weights.w_in[n * width + i];
        }
      }
    }
  }
  std::copy(dx.begin(), dx.end(), gradients.dx);
  std::copy(dw_in.begin(), dw_in.end(), gradients.dw_in);
  if (gradients.db_in) std::copy(db_in.begin(), db_in.end(), gradients.db_in);
  std::copy(dw_out.begin(), dw_out.end(), gradients.dw_out);
  if (gradients.dw_out_left) std::copy(dw_out_left.begin(), dw_out_left.end(), gradients.dw_out_left);
}

}  // namespace grove
