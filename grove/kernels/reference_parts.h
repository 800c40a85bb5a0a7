// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What the scalar references share: one expert or leaf, the decisions of a leaf tree; in double, to be read beside the
// equations of gated_experts.h and leaf_router.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "grove/kernels/gated_experts.h"
#include "grove/kernels/leaf_router.h"

namespace grove::reference {

inline double LogSigmoid(double z) { return std::min(z, 0.0) - std::log1p(std::exp(-std::abs(z))); }
inline double Sigmoid(double z) { return std::exp(LogSigmoid(z)); }

// sum over i of a[i] b[i]
inline double Dot(const float* a, const float* b, size_t size) {
  double sum = 0;
  for (size_t i = 0; i < size; ++i) sum += double{a[i]} * b[i];
  return sum;
}

struct ExpertActivity {
  std::vector<double> logits;  // [hidden_width]
  std::vector<double> output;  // [out_width]
};

inline ExpertActivity RunExpert(const ExpertsShape& shape, const ExpertsWeights& weights, const float* x, size_t e) {
  const size_t in = shape.in_width, hidden = shape.hidden_width, out = shape.out_width;
  ExpertActivity a{std::vector<double>(hidden), std::vector<double>(out)};
  for (size_t j = 0; j < hidden; ++j) {
    a.logits[j] = weights.b1[e * hidden + j];
    for (size_t i = 0; i < in; ++i) a.logits[j] += double{weights.w1[(e * in + i) * hidden + j]} * x[i];
  }
  for (size_t o = 0; o < out; ++o) {
    a.output[o] = weights.b2[e * out + o];
    for (size_t j = 0; j < hidden; ++j) {
      a.output[o] += Activate(shape.activation, a.logits[j]) * weights.w2[(e * hidden + j) * out + o];
    }
  }
  return a;
}

// Unscaled logits of the decisions of one tree.
inline std::vector<double> DecisionLogits(const LeafRouterShape& shape, const LeafRouterWeights& weights,
                                          const float* x, size_t tree) {
  std::vector<double> logits(shape.decisions());
  for (size_t n = 0; n < logits.size(); ++n) {
    const size_t node = tree * shape.decisions() + n;
    logits[n] = weights.biases[node] + Dot(weights.weights + node * shape.width, x, shape.width);
  }
  return logits;
}

// Calls visit(node, right) for every decision on the way from a tree's root to `leaf`.
template <class Visit>
void ForEachDecision(const LeafRouterShape& shape, size_t leaf, const Visit& visit) {
  size_t node = 0;
  for (size_t level = 0; level < shape.depth; ++level) {
    const bool right = (leaf >> (shape.depth - 1 - level)) & 1;
    visit(node, right);
    node = right ? 2 * node + 2 : 2 * node + 1;
  }
}

}  // namespace grove::reference
