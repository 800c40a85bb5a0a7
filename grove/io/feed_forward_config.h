// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// One feedforward layer as config.json describes it. docs/feedforward-kinds.md says what each kind computes, where it
// comes from and what it costs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace grove {

enum class FeedForwardKind { kDense, kLeafTree, kMoe, kNeuronTree, kNone, kProductKey };
enum class NonLinearity { kGelu, kGeluGlu, kRelu };

// What turns a token left or right in a neuron tree.
enum class TreeRouting {
  kHard,             // the sign of the node's own logit, as published
  kRandom,           // the side of a fixed random hyperplane
  kStraightThrough,  // as hard, but in training the decision takes a gradient
  kTokenHash,        // a hash of the token's id: kernels/token_path.h
};
// The weights of the leaves or experts that a token visits.
enum class GateKind {
  kProbability,   // their probabilities
  kRenormalized,  // the same divided by their sum: 1 for a single path
};
enum class RouterKind { kNoisyTopK, kSoftmax };

// Only the fields of its kind have a meaning.
struct FeedForwardConfig {
  FeedForwardKind kind = FeedForwardKind::kDense;
  NonLinearity nonlinearity = NonLinearity::kGelu;
  int64_t intermediate = 0;   // dense: stored neurons (GLU: both halves together, as the paper counts)
  int64_t trees = 1;          // both tree kinds: side by side; "intermed_size" of neuron trees, "leaf_trees"
  int64_t depth = 0;          // both tree kinds: decisions on a path, "intermed_depth"
  bool two_sided = false;     // neuron trees
  int64_t leaf_width = 0;     // leaf trees: neurons of one leaf
  int64_t paths = 1;          // leaf trees: leaves of a tree that a token visits; 1 = the decided path, as published
  double decision_scale = 1;  // leaf trees: a decision's probability is sigmoid(scale x logit)
  TreeRouting routing = TreeRouting::kHard;  // neuron trees
  int64_t routing_seed = 0;                  // neuron trees routed by hash
  GateKind gates = GateKind::kRenormalized;  // leaf trees, mixtures
  int64_t experts = 0;                       // mixtures
  int64_t expert_width = 0;                  // mixtures: neurons of one expert
  RouterKind router = RouterKind::kSoftmax;  // mixtures
  int64_t top_k = 1;                         // mixtures: experts of a token; product keys: neurons of a head
  int64_t key_heads = 0;                     // product keys
  int64_t sub_keys = 0;                      // product keys: of each half; their square is the number of neurons
  int64_t key_width = 0;                     // product keys: of a head's query, both halves
  int64_t always_on = 0;                     // conditional kinds: neurons of the dense part beside them

  bool conditional() const { return kind != FeedForwardKind::kDense && kind != FeedForwardKind::kNone; }

  // Neurons with weights of their own; routing vectors are not counted.
  int64_t StoredNeurons() const;
  // Computed for one token, at most, products of routing among them. Leaf trees of several paths count every decision,
  // which best-first search may have to open. A product key's score is shorter than a neuron's product: given the
  // model's width it counts by its length, else as one.
  int64_t ActiveNeurons(int64_t width = 0) const;

  bool operator==(const FeedForwardConfig&) const = default;
};

std::string_view FeedForwardKindName(FeedForwardKind kind);  // "dense", "leaf_tree", "moe", "neuron_tree", ...
// "dense 3072", "neuron trees 16x7, two-sided", "leaf tree depth 5, 32 leaves of 128, 4 paths", "none".
std::string DescribeFeedForward(const FeedForwardConfig& config);

}  // namespace grove
