// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// How tokens spread over the units of conditional layers (nn/feed_forward.h) during training: is the tree hardening, is
// it used evenly, which units starve? docs/diagnostics.md says what each figure means and what to do about it.
//
//   RoutingMonitor monitor(replicas.FeedForwards(), {});
//   monitor.BeginStep(/*report=*/true);       // gathers from the next forward pass on
//   ... forward and backward passes of one optimizer step ...
//   monitor.EndStep();                        // sums replicas; gradients are complete and not yet clipped
//   optimizer.Step(rate);
//   log.Write(RoutingLine(monitor.Report())); // waits for the device
//
// All figures are of one optimizer step: its tokens are the batch whose shrinking they show. A step that is neither
// reported nor needed by the optimizer costs nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "grove/nn/feed_forward.h"

namespace grove::train {

// What the tokens of one step did in one layer, on the device: what per-unit updates need (unit_updates.h).
struct UnitUse {
  const nn::FeedForward* layer;  // of the first replica
  torch::Tensor visits;          // [units]: tokens that used each unit
  torch::Tensor tokens;          // scalar: all tokens
};

// Figures by level, one entry each; a unit's tokens are n_u.
struct LevelFigures {
  int64_t units = 0;
  double mean_tokens = 0, min_tokens = 0, median_tokens = 0, max_tokens = 0;  // n_u over all units of the level
  // Harmonic mean of n_u over the visited units: a gradient's noise falls as 1 / n_u, so that on average these units
  // learn as if from batches of this size.
  double effective_batch = 0;
  int64_t unvisited = 0;   // n_u = 0 in this step
  int64_t dead = 0;        // n_u = 0 in this report and the `dead_after` - 1 before it
  int64_t fragmented = 0;  // 0 < n_u < few_tokens
  // Entropy of the shares n_u / sum n, divided by the logarithm of the units: 1 even, 0 all tokens at one unit. None
  // for a level of one unit.
  std::optional<double> usage_entropy;
  double gradient_norm = 0;  // Euclidean, over the parameters of the level's units
};

struct LayerFigures {
  int64_t layer = 0;  // number of the encoder block
  double tokens = 0;
  std::vector<LevelFigures> levels;
  std::vector<double> entropy;                 // by decision level: mean over decisions and tokens; ln 2 = undecided
  std::vector<double> decision_gradient_norm;  // by decision level; empty if units are their own decisions
  std::vector<int64_t> histogram;              // units of the last level with 0, 1, 2 to 3, 4 to 7, ... tokens
};

class RoutingMonitor {
 public:
  struct Options {
    int64_t few_tokens = 16;  // a unit with fewer tokens in a step is over-fragmented
    int64_t dead_after = 10;  // reports in a row without a visit that make a unit dead; counted anew after a resumption
    bool every_step = false;  // gather always: the optimizer needs it
  };
  // The feedforward layers of every replica, block by block; null where a block has none.
  using Layers = std::vector<std::shared_ptr<nn::FeedForward>>;
  RoutingMonitor(std::vector<Layers> replicas, const Options& options);
  ~RoutingMonitor();
  RoutingMonitor(RoutingMonitor&&) noexcept;

  bool empty() const;  // no layer is conditional

  void BeginStep(bool report);
  // `sum_over_processes` adds up a tensor over all processes, in place; none for a single one.
  void EndStep(const std::function<void(torch::Tensor&)>& sum_over_processes = {});

  // Of the latest step; empty if it was not gathered.
  const std::vector<UnitUse>& use() const;
  std::vector<LayerFigures> Report();

 private:
  struct Layer;
  void AddLevels(Layer& layer, const float* visits, const float* squares, LayerFigures& figures) const;

  Options options_;
  std::vector<Layer> layers_;
  bool gathering_ = false, reporting_ = false;
  std::vector<UnitUse> use_;
  torch::Tensor sums_;               // all layers: visits, entropy, tokens
  torch::Tensor squared_gradients_;  // all layers: by unit level, then by decision level
};

// The log's line but for its step, tokens and seconds: {"layers": [{"layer": 0, "units": [..by level..], ...}]},
// numbers rounded to four digits. Columns that no level has are left out.
nlohmann::ordered_json RoutingLine(const std::vector<LayerFigures>& layers);

}  // namespace grove::train
