// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Random layers for tests and benches, the comparison both use, and a loop over the machine's instruction sets.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "grove/kernels/gated_experts.h"
#include "grove/kernels/gathered_neurons.h"
#include "grove/kernels/leaf_router.h"
#include "grove/kernels/leaf_tree.h"
#include "grove/kernels/neuron_tree.h"
#include "grove/kernels/target.h"

namespace grove::test {

inline std::vector<float> RandomNormal(size_t count, float scale, uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float& v : values) v = normal(rng);
  return values;
}

// Logits of order 1, whatever the width.
struct NeuronTreeCase {
  explicit NeuronTreeCase(const NeuronTreeShape& s, uint64_t seed = 1, bool with_bias = true)
      : shape(s),
        w_in(RandomNormal(s.nodes() * s.width, 1.0f / std::sqrt(float(s.width)), seed)),
        b_in(RandomNormal(s.nodes(), 0.3f, seed + 1)),
        w_out(RandomNormal(s.nodes() * s.width, 0.5f, seed + 2)),
        w_out_left(RandomNormal(s.two_sided ? s.nodes() * s.width : 0, 0.5f, seed + 3)),
        has_bias(with_bias) {}
  NeuronTreeWeights weights() const {
    return {w_in.data(), has_bias ? b_in.data() : nullptr, w_out.data(), shape.two_sided ? w_out_left.data() : nullptr};
  }
  NeuronTreeShape shape;
  std::vector<float> w_in, b_in, w_out, w_out_left;
  bool has_bias;
};

struct LeafTreeCase {
  explicit LeafTreeCase(const LeafTreeShape& s, uint64_t seed = 1)
      : shape(s),
        node_weights(RandomNormal(s.decisions() * s.in_width, 1.0f / std::sqrt(float(s.in_width)), seed)),
        node_biases(RandomNormal(s.decisions(), 0.3f, seed + 1)),
        w1(RandomNormal(s.leaves() * s.in_width * s.leaf_width, 1.0f / std::sqrt(float(s.in_width)), seed + 2)),
        b1(RandomNormal(s.leaves() * s.leaf_width, 0.3f, seed + 3)),
        w2(RandomNormal(s.leaves() * s.leaf_width * s.out_width, 0.5f, seed + 4)),
        b2(RandomNormal(s.leaves() * s.out_width, 0.3f, seed + 5)) {}
  LeafTreeWeights weights() const {
    return {node_weights.data(), node_biases.data(), w1.data(), b1.data(), w2.data(), b2.data()};
  }
  LeafTreeShape shape;
  std::vector<float> node_weights, node_biases, w1, b1, w2, b2;
};

struct ExpertsCase {
  explicit ExpertsCase(const ExpertsShape& s, uint64_t seed = 1)
      : shape(s),
        w1(RandomNormal(s.experts * s.in_width * s.hidden_width, 1.0f / std::sqrt(float(s.in_width)), seed)),
        b1(RandomNormal(s.experts * s.hidden_width, 0.3f, seed + 1)),
        w2(RandomNormal(s.experts * s.hidden_width * s.out_width, 0.5f, seed + 2)),
        b2(RandomNormal(s.experts * s.out_width, 0.3f, seed + 3)) {}
  ExpertsWeights weights() const { return {w1.data(), b1.data(), w2.data(), b2.data()}; }
  ExpertsShape shape;
  std::vector<float> w1, b1, w2, b2;
};

struct LeafRouterCase {
  explicit LeafRouterCase(const LeafRouterShape& s, uint64_t seed = 1)
      : shape(s),
        nodes(RandomNormal(s.trees * s.decisions() * s.width, 1.0f / std::sqrt(float(s.width)), seed)),
        biases(RandomNormal(s.trees * s.decisions(), 0.3f, seed + 1)) {}
  LeafRouterWeights weights() const { return {nodes.data(), biases.data()}; }
  LeafRouterShape shape;
  std::vector<float> nodes, biases;
};

struct NeuronsCase {
  explicit NeuronsCase(const NeuronsShape& s, uint64_t seed = 1)
      : shape(s),
        in(RandomNormal(s.neurons * s.width, 1.0f / std::sqrt(float(s.width)), seed)),
        bias(RandomNormal(s.neurons, 0.3f, seed + 1)),
        out(RandomNormal(s.neurons * s.width, 0.5f, seed + 2)),
        out_left(RandomNormal(s.two_sided ? s.neurons * s.width : 0, 0.5f, seed + 3)) {}
  NeuronsWeights weights(NeuronsWeights::Out layout, bool with_bias) const {
    return {in.data(), with_bias ? bias.data() : nullptr, out.data(), shape.two_sided ? out_left.data() : nullptr,
            layout};
  }
  NeuronsShape shape;
  std::vector<float> in, bias, out, out_left;
};

// `per_token` different ones of `count` for each token, in any order: [tokens, per_token].
inline std::vector<uint32_t> RandomChoices(size_t tokens, size_t count, size_t per_token, uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::vector<uint32_t> all(count), chosen;
  std::iota(all.begin(), all.end(), uint32_t{0});
  for (size_t t = 0; t < tokens; ++t) {
    std::shuffle(all.begin(), all.end(), rng);
    chosen.insert(chosen.end(), all.begin(), all.begin() + static_cast<ptrdiff_t>(per_token));
  }
  return chosen;
}

// Owns the arrays of a LeafTreeGradients.
struct LeafTreeGradientBuffers {
  LeafTreeGradientBuffers(const LeafTreeShape& s, size_t tokens)
      : dx(tokens * s.in_width, NAN),
        dnode_weights(s.decisions() * s.in_width, NAN),
        dnode_biases(s.decisions(), NAN),
        dw1(s.leaves() * s.in_width * s.leaf_width, NAN),
        db1(s.leaves() * s.leaf_width, NAN),
        dw2(s.leaves() * s.leaf_width * s.out_width, NAN),
        db2(s.leaves() * s.out_width, NAN) {}
  LeafTreeGradients view() {
    return {dx.data(), dnode_weights.data(), dnode_biases.data(), dw1.data(), db1.data(), dw2.data(), db2.data()};
  }
  std::vector<float> dx, dnode_weights, dnode_biases, dw1, db1, dw2, db2;
};

struct NeuronTreeGradientBuffers {
  NeuronTreeGradientBuffers(const NeuronTreeShape& s, size_t tokens)
      : dx(tokens * s.width, NAN),
        dw_in(s.nodes() * s.width, NAN),
        db_in(s.nodes(), NAN),
        dw_out(s.nodes() * s.width, NAN),
        dw_out_left(s.two_sided ? s.nodes() * s.width : 0, NAN) {}
  NeuronTreeGradients view() {
    return {dx.data(), dw_in.data(), db_in.data(), dw_out.data(), dw_out_left.empty() ? nullptr : dw_out_left.data()};
  }
  std::vector<float> dx, dw_in, db_in, dw_out, dw_out_left;
};

// Largest difference as a share of the largest expected value. NaN anywhere gives infinity.
inline double RelativeError(std::span<const float> actual, std::span<const float> expected) {
  double difference = 0, largest = 0;
  if (actual.size() != expected.size()) return INFINITY;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i])) return INFINITY;
    difference = std::max(difference, std::abs(double{actual[i]} - expected[i]));
    largest = std::max(largest, std::abs(double{expected[i]}));
  }
  return difference == 0 ? 0 : difference / largest;
}

// Runs `body` once per instruction set of this machine, with that one forced.
template <class Body>
void OnEveryTarget(const Body& body) {
  for (const std::string& target : AvailableTargets()) {
    SCOPED_TRACE("target " + target);
    ASSERT_TRUE(ForceTarget(target).ok());
    body();
  }
  ASSERT_TRUE(ForceTarget("best").ok());
}

}  // namespace grove::test
