// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// AdamW for the parameters of units that few tokens use: a leaf, a node, an expert (nn/feed_forward.h). Two remedies
// for the shrinking batch, each off by default. Both need to know what every step's tokens used (routing_monitor.h). A
// third, which does not, is in unit_ancestors.h.
//
// Rates by usage (rate_power p). Unit u learns with rate * clamp(s_u^p, 0.01, 100). s_u is the share of the tokens that
// use it, as a moving mean with the decay of the second moment, corrected for its start as moments are:
//
//   m_u <- beta2 m_u + (1 - beta2) visits_u / tokens,   s_u = m_u / (1 - beta2^step)
//
// p = 1/2 is the square-root rule for batch sizes applied to each unit: one whose batch is a sixteenth of the tokens
// learns at a quarter of the rate. p = 1 is the linear rule. p < 0 does the opposite: what is seldom visited moves
// further when it is.
//
// Lazy moments. A unit without a visit in a step keeps its weights and its moments: no decay of either, no weight
// decay, and whatever gradient reached it (a regularizer's) is dropped. v_u counts its steps with a visit and takes the
// place of the step in the bias correction:
//
//   m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2,
//   w <- w - rate (m / (1 - beta1^v_u)) / (sqrt(v / (1 - beta2^v_u)) + epsilon)       for visited units alone
//
// With both off, or with every unit visited by every token, an update is AdamW's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/nn/torch_compat.h"
#include "grove/train/routing_monitor.h"
#include "grove/train/unit_ancestors.h"

namespace grove::train {

struct UnitOptions {
  double rate_power = 0;  // p above; 0: the same rate for all
  bool lazy = false;
  int64_t ancestors = 0;  // s of unit_ancestors.h

  bool by_use() const { return rate_power != 0 || lazy; }  // what a step's tokens used matters
  bool any() const { return by_use() || ancestors > 0; }
};

// An error where a layer of the model has units that are neither leaves nor experts, and `options` wants ancestors.
Status CheckAncestors(const torch::nn::Module& model, const UnitOptions& options);

class UnitUpdates {
 public:
  explicit UnitUpdates(const UnitOptions& options) : options_(options) {}

  // One parameter of a layer's units, as views of the optimizer's buffers; units x rows lie along `dim`.
  struct Part {
    torch::Tensor parameter, gradient, first, second;
    int64_t dim;
    bool decay;
    std::optional<AncestorSteps> ancestors = {};  // made by AddLayer()
  };
  // `name` is the layer's name within the model.
  void AddLayer(const std::string& name, const nn::FeedForward* layer, int64_t units, std::vector<Part> parts);

  using Hyper = AdamHyper;
  // Updates every layer. One that `use` does not name is updated as if all its units had been visited by every token.
  void Step(const Hyper& hyper, const std::vector<UnitUse>& use);

  // What a checkpoint has to keep: m_u and v_u by layer, and the moments of subtrees.
  std::map<std::string, torch::Tensor> state() const;

 private:
  struct Layer {
    std::string name;
    const nn::FeedForward* layer;
    torch::Tensor share, visited;  // [units]: m_u and v_u
    std::vector<Part> parts;       // each seen as [..., units, rows, ...]
  };
  void StepLayer(Layer& layer, const Hyper& hyper, const UnitUse* use);

  UnitOptions options_;
  std::vector<Layer> layers_;
};

}  // namespace grove::train
