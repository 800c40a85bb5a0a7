// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/routing_options.h"

#include "grove/nn/feed_forward.h"

namespace grove::train {

void AddRoutingOptions(RoutingOptions& o, OptionList& list) {
  const OptionList own = {
      {"balance", &o.balance, "Weight of the load-balance loss; -1: 0.01, or 0 for neuron trees, as published", -1,
       100},
      {"hardening", &o.hardening, "leaf_tree: weight of the decisions' entropy", 0, 100},
      {"hardening_schedule", &o.hardening_schedule, "The weight at once, or grown from 0 over the budget", 0, 0,
       "constant linear"},
      {"region_leak", &o.region_leak, "trees: probability that a decision is flipped in training", 0, 0.5},
      {"train_paths", &o.train_paths, "leaf_tree: paths in training; 0: as in inference, 2^depth: all leaves, soft", 0,
       1 << 24},
      {"train_hardened", &o.train_hardened, "leaf_tree: train the decided path, decisions straight-through"},
  };
  list.insert(list.end(), own.begin(), own.end());
}

nn::ModuleOptions ModuleOptionsOf(const RoutingOptions& o) {
  return {.balance = o.balance,
          .hardening = o.hardening,
          .hardening_ramp = o.hardening_schedule == "linear",
          .region_leak = o.region_leak,
          .train_paths = o.train_paths,
          .train_hardened = o.train_hardened};
}

}  // namespace grove::train
