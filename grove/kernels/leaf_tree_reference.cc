// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// To be read beside arXiv 2308.14711, algorithm 1 (FORWARD_T, FORWARD_I) and the header's equations. Slow on purpose:
// every decision and every leaf is computed for every token.
#include <algorithm>
#include <cmath>
#include <vector>

#include "grove/kernels/leaf_tree.h"
#include "grove/kernels/reference_parts.h"

namespace grove {
namespace {

using reference::LogSigmoid;
using reference::Sigmoid;

std::vector<double> DecisionLogits(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x) {
  return reference::DecisionLogits(shape.router(), weights.router(), x, /*tree=*/0);
}

struct Choice {
  size_t leaf;
  double gate;
};

}  // namespace

void LeafTreeSoftReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x, size_t tokens,
                           float* y) {
  LeafTreeShape soft = shape;
  soft.paths = shape.leaves();
  LeafTreeForwardReference(soft, weights, x, tokens, y, nullptr);
}

void LeafTreeForwardReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x, size_t tokens,
                              float* y, const LeafTreeTrace* trace) {
  std::vector<uint32_t> leaves(tokens * shape.paths);
  std::vector<double> gates(leaves.size());
  RouteLeavesReference(shape.router(), weights.router(), x, tokens, leaves.data(), gates.data());
  GatedExpertsReference(shape.experts(), weights.experts(), x, tokens, leaves.data(), gates.data(), shape.paths, y);
  if (!trace) return;
  std::copy(leaves.begin(), leaves.end(), trace->leaves);
  std::copy(gates.begin(), gates.end(), trace->gates);
}

namespace {

// Sums in double, copied out at the end.
struct Accumulators {
  Accumulators(const LeafTreeShape& s, size_t tokens)
      : dx(tokens * s.in_width),
        dnode_weights(s.decisions() * s.in_width),
        dnode_biases(s.decisions()),
        dw1(s.leaves() * s.in_width * s.leaf_width),
        db1(s.leaves() * s.leaf_width),
        dw2(s.leaves() * s.leaf_width * s.out_width),
        db2(s.leaves() * s.out_width) {}
  std::vector<double> dx, dnode_weights, dnode_biases, dw1, db1, dw2, db2;

  void CopyDecisionsTo(const LeafTreeGradients& g) const {
    std::copy(dx.begin(), dx.end(), g.dx);
    std::copy(dnode_weights.begin(), dnode_weights.end(), g.dnode_weights);
    std::copy(dnode_biases.begin(), dnode_biases.end(), g.dnode_biases);
  }
  void CopyLeavesTo(const LeafTreeGradients& g) const {
    std::copy(dw1.begin(), dw1.end(), g.dw1);
    std::copy(db1.begin(), db1.end(), g.db1);
    std::copy(dw2.begin(), dw2.end(), g.dw2);
    std::copy(db2.begin(), db2.end(), g.db2);
  }
};

// Through one visited leaf; returns the gradient of its gate.
double LeafBackward(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x, const float* dy,
                    const Choice& choice, double* dx, Accumulators& acc) {
  const size_t in = shape.in_width, hidden = shape.leaf_width, out = shape.out_width, leaf = choice.leaf;
  const reference::ExpertActivity activity = reference::RunExpert(shape.experts(), weights.experts(), x, leaf);
  double dgate = 0;
  for (size_t o = 0; o < out; ++o) {
    dgate += dy[o] * activity.output[o];
    acc.db2[leaf * out + o] += choice.gate * dy[o];
  }
  for (size_t j = 0; j < hidden; ++j) {
    double dactive = 0;
    for (size_t o = 0; o < out; ++o) {
      const size_t at = (leaf * hidden + j) * out + o;
      dactive += choice.gate * dy[o] * weights.w2[at];
      acc.dw2[at] += choice.gate * dy[o] * Activate(shape.activation, activity.logits[j]);
    }
    const double dlogit = dactive * ActivateDerivative(shape.activation, activity.logits[j]);
    acc.db1[leaf * hidden + j] += dlogit;
    for (size_t i = 0; i < in; ++i) {
      const size_t at = (leaf * in + i) * hidden + j;
      acc.dw1[at] += dlogit * x[i];
      dx[i] += dlogit * weights.w1[at];
    }
  }
  return dgate;
}

// Adds the gradient `dlogit` of decision `node`.
void DecisionBackward(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x, size_t node,
                      double dlogit, double* dx, Accumulators& acc) {
  acc.dnode_biases[node] += dlogit;
  for (size_t i = 0; i < shape.in_width; ++i) {
    acc.dnode_weights[node * shape.in_width + i] += dlogit * x[i];
    dx[i] += dlogit * weights.node_weights[node * shape.in_width + i];
  }
}

}  // namespace

void LeafTreeBackwardReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x,
                               const LeafTreeTrace& trace, const float* dy, size_t tokens,
                               const LeafTreeGradients& gradients) {
  Accumulators acc(shape, tokens);
  for (size_t t = 0; t < tokens; ++t) {
    const float* xt = x + t * shape.in_width;
    double* dx = acc.dx.data() + t * shape.in_width;
    std::vector<Choice> choices;
    std::vector<double> dgate;
    double mean = 0;  // sum of gate x dgate: what the renormalization subtracts
    for (size_t s = 0; s < shape.paths; ++s) {
      choices.push_back({trace.leaves[t * shape.paths + s], trace.gates[t * shape.paths + s]});
      dgate.push_back(LeafBackward(shape, weights, xt, dy + t * shape.out_width, choices[s], dx, acc));
      mean += choices[s].gate * dgate[s];
    }
    if (shape.paths == 1) continue;  // the gate is constant
    const std::vector<double> logits = DecisionLogits(shape, weights, xt);
    for (size_t s = 0; s < shape.paths; ++s) {
      const double dlog_p = choices[s].gate * (dgate[s] - mean);  // softmax over the chosen leaves
      reference::ForEachDecision(shape.router(), choices[s].leaf, [&](size_t node, bool right) {
        const double p_right = Sigmoid(shape.decision_scale * logits[node]);
        const double dlogit = dlog_p * shape.decision_scale * (right ? 1 - p_right : -p_right);
        DecisionBackward(shape, weights, xt, node, dlogit, dx, acc);
      });
    }
  }
  acc.CopyDecisionsTo(gradients);
  acc.CopyLeavesTo(gradients);
}

void LeafTreeEntropyReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x, size_t tokens,
                              float* entropy) {
  std::vector<double> sum(shape.decisions());
  for (size_t t = 0; t < tokens; ++t) {
    const std::vector<double> logits = DecisionLogits(shape, weights, x + t * shape.in_width);
    for (size_t n = 0; n < sum.size(); ++n) {
      const double z = shape.decision_scale * logits[n];
      sum[n] -= Sigmoid(z) * LogSigmoid(z) + Sigmoid(-z) * LogSigmoid(-z);
    }
  }
  for (size_t n = 0; n < sum.size(); ++n) entropy[n] = static_cast<float>(sum[n] / static_cast<double>(tokens));
}

void LeafTreeEntropyBackwardReference(const LeafTreeShape& shape, const LeafTreeWeights& weights, const float* x,
                                      size_t tokens, const LeafTreeGradients& gradients) {
  Accumulators acc(shape, tokens);
  for (size_t t = 0; t < tokens; ++t) {
    const float* xt = x + t * shape.in_width;
    const std::vector<double> logits = DecisionLogits(shape, weights, xt);
    for (size_t n = 0; n < logits.size(); ++n) {
      // H(p) = -p ln p - (1-p) ln(1-p), p = sigmoid(z): dH/dz = -z p (1-p)
      const double z = shape.decision_scale * logits[n];
      const double dlogit = -z * Sigmoid(z) * Sigmoid(-z) * shape.decision_scale / static_cast<double>(tokens);
      DecisionBackward(shape, weights, xt, n, dlogit, acc.dx.data() + t * shape.in_width, acc);
    }
  }
  acc.CopyDecisionsTo(gradients);
}

}  // namespace grove
