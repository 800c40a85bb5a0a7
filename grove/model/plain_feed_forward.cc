// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/plain_feed_forward.h"

#include <algorithm>
#include <cmath>

#include "grove/kernels/token_path.h"

namespace grove::test {

PlainFeedForward::Vector PlainFeedForward::Multiply(const std::string& name, const Vector& x) const {
  const std::vector<float>& weight = Values(name);
  Vector y(weight.size() / x.size());
  for (size_t o = 0; o < y.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) y[o] += weight[o * x.size() + i] * x[i];
  }
  return y;
}

double PlainFeedForward::Activation(double x) const {
  if (config_.nonlinearity == NonLinearity::kRelu) return std::max(x, 0.0);
  return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
}

PlainFeedForward::Vector PlainFeedForward::Dense(const std::string& in, const std::string& out, const Vector& x) const {
  Vector hidden = Multiply(in, x);
  if (config_.nonlinearity == NonLinearity::kGeluGlu) {
    const size_t half = hidden.size() / 2;
    for (size_t i = 0; i < half; ++i) hidden[i] *= Activation(hidden[half + i]);
    hidden.resize(half);
  } else {
    for (double& v : hidden) v = Activation(v);
  }
  return Multiply(out, hidden);
}

PlainFeedForward::Vector PlainFeedForward::NeuronTrees(const Vector& x, int32_t id) const {
  const Vector logits = Multiply("linear_in.weight", x);
  const size_t nodes = logits.size(), trees = static_cast<size_t>(config_.trees), per_tree = nodes / trees;
  Vector planes;
  if (config_.routing == TreeRouting::kRandom) planes = Multiply("decision_planes", x);
  Vector y(x.size());
  for (size_t tree = 0; tree < trees; ++tree) {
    const uint64_t path = TokenPath(TreeKey(config_.routing_seed, layer_, static_cast<int64_t>(tree)), id);
    size_t node = 0;
    for (int64_t level = 0; level <= config_.depth; ++level) {
      const size_t n = tree * per_tree + node;
      const double l = logits[n] + Values("linear_in.bias")[n];
      for (size_t o = 0; o < y.size(); ++o) {
        y[o] += Activation(l) * Values("linear_out.weight")[o * nodes + n];
        if (config_.two_sided) y[o] += Activation(-l) * Values("linear_out_left.weight")[o * nodes + n];
      }
      bool right = l > 0;
      if (config_.routing == TreeRouting::kTokenHash) right = (path >> level) & 1;
      if (!planes.empty() && level < config_.depth) right = planes[tree * (per_tree / 2) + node] > 0;
      node = 2 * node + (right ? 2 : 1);
    }
  }
  return y;
}

void PlainFeedForward::AddExpert(const Vector& x, const Gated& expert, size_t hidden, Vector& y) const {
  for (size_t j = 0; j < hidden; ++j) {
    double logit = Values("b1s")[expert.index * hidden + j];
    for (size_t i = 0; i < x.size(); ++i) logit += x[i] * Values("w1s")[(expert.index * x.size() + i) * hidden + j];
    const double gated = Activation(logit) * expert.gate;
    for (size_t o = 0; o < y.size(); ++o) y[o] += gated * Values("w2s")[(expert.index * hidden + j) * y.size() + o];
  }
  for (size_t o = 0; o < y.size(); ++o) y[o] += expert.gate * Values("b2s")[expert.index * y.size() + o];
}

std::vector<PlainFeedForward::Gated> PlainFeedForward::VisitedLeaves(const Vector& logits, size_t tree) const {
  const size_t leaves = size_t{1} << config_.depth, inner = leaves - 1;
  const auto logit = [&](size_t node) {
    return logits[tree * inner + node] + Values("node_biases")[tree * inner + node];
  };
  std::vector<Gated> visited;
  for (size_t leaf = 0; leaf < leaves; ++leaf) {
    double probability = 1;
    for (size_t node = leaf + inner; node != 0; node = (node - 1) / 2) {
      const size_t above = (node - 1) / 2;
      const double l = config_.decision_scale * logit(above);
      probability *= 1 / (1 + std::exp(node == 2 * above + 2 ? -l : l));
    }
    visited.push_back({probability, tree * leaves + leaf});
  }
  if (config_.paths == 1) {  // the decided path, which need not end at the most probable leaf
    size_t node = 0;
    while (node < inner) node = 2 * node + (logit(node) > 0 ? 2 : 1);
    visited = {visited[node - inner]};
  }
  std::sort(visited.begin(), visited.end(), [](const Gated& a, const Gated& b) { return a.gate > b.gate; });
  visited.resize(static_cast<size_t>(config_.paths));
  if (config_.gates == GateKind::kProbability) return visited;
  double total = 0;
  for (const Gated& leaf : visited) total += leaf.gate;
  for (Gated& leaf : visited) leaf.gate /= total;
  return visited;
}

PlainFeedForward::Vector PlainFeedForward::LeafTrees(const Vector& x) const {
  const Vector logits = config_.depth == 0 ? Vector() : Multiply("node_weights", x);
  Vector y(x.size());
  for (size_t tree = 0; tree < static_cast<size_t>(config_.trees); ++tree) {
    for (const Gated& leaf : VisitedLeaves(logits, tree)) {
      AddExpert(x, leaf, static_cast<size_t>(config_.leaf_width), y);
    }
  }
  return y;
}

PlainFeedForward::Vector PlainFeedForward::Moe(const Vector& x) const {
  const Vector logits = Multiply("router.weight", x);
  double all = 0, chosen_sum = 0;
  std::vector<Gated> experts;
  for (size_t e = 0; e < logits.size(); ++e) {
    experts.push_back({std::exp(logits[e]), e});
    all += experts.back().gate;
  }
  std::sort(experts.begin(), experts.end(), [](const Gated& a, const Gated& b) { return a.gate > b.gate; });
  experts.resize(static_cast<size_t>(config_.top_k));
  for (const Gated& expert : experts) chosen_sum += expert.gate;
  Vector y(x.size());
  for (Gated& expert : experts) {
    expert.gate /= config_.gates == GateKind::kProbability ? all : chosen_sum;
    AddExpert(x, expert, static_cast<size_t>(config_.expert_width), y);
  }
  return y;
}

PlainFeedForward::Vector PlainFeedForward::ProductKeys(const Vector& x) const {
  const size_t keys = static_cast<size_t>(config_.sub_keys), width = static_cast<size_t>(config_.key_width);
  const Vector queries = Multiply("query.weight", x);
  Vector y(x.size());
  for (size_t first = 0; first < queries.size(); first += width) {
    Vector query(queries.begin() + ptrdiff_t(first), queries.begin() + ptrdiff_t(first + width));
    double mean = 0, variance = 0;
    for (const double q : query) mean += q / static_cast<double>(width);
    for (const double q : query) variance += (q - mean) * (q - mean) / static_cast<double>(width);
    for (size_t c = 0; c < width; ++c) {
      query[c] = (query[c] - mean) / std::sqrt(variance + 1e-5) * Values("query_norm.weight")[c] +
                 Values("query_norm.bias")[c];
    }
    std::vector<Gated> pairs;  // every pair of sub-keys, by falling score
    for (size_t n = 0; n < keys * keys; ++n) {
      double score = 0;
      for (size_t c = 0; c < width / 2; ++c) {
        score += query[c] * Values("sub_keys")[n / keys * (width / 2) + c];
        score += query[width / 2 + c] * Values("sub_keys")[(keys + n % keys) * (width / 2) + c];
      }
      pairs.push_back({std::exp(score), n});
    }
    std::sort(pairs.begin(), pairs.end(), [](const Gated& a, const Gated& b) { return a.gate > b.gate; });
    pairs.resize(static_cast<size_t>(config_.top_k));
    double total = 0;
    for (const Gated& pair : pairs) total += pair.gate;
    for (const Gated& pair : pairs) {
      double logit = 0;
      for (size_t i = 0; i < x.size(); ++i) logit += x[i] * Values("neurons_in")[pair.index * x.size() + i];
      const double value = pair.gate / total * Activation(logit);
      for (size_t o = 0; o < y.size(); ++o) y[o] += value * Values("neurons_out")[pair.index * y.size() + o];
    }
  }
  return y;
}

PlainFeedForward::Vector PlainFeedForward::Forward(const Vector& x, int32_t id) const {
  Vector y(x.size());
  switch (config_.kind) {
    case FeedForwardKind::kDense:
      y = Dense("dense_in.weight", "dense_out.weight", x);
      break;
    case FeedForwardKind::kLeafTree:
      y = LeafTrees(x);
      break;
    case FeedForwardKind::kMoe:
      y = Moe(x);
      break;
    case FeedForwardKind::kNeuronTree:
      y = NeuronTrees(x, id);
      break;
    case FeedForwardKind::kNone:
      break;
    case FeedForwardKind::kProductKey:
      y = ProductKeys(x);
      break;
  }
  if (!config_.conditional() || config_.always_on == 0) return y;
  const Vector always = Dense("always_on_in.weight", "always_on_out.weight", x);
  for (size_t o = 0; o < y.size(); ++o) y[o] += always[o];
  return y;
}

}  // namespace grove::test
