// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// How the routing of conditional feedforward layers is trained, whatever the verb. What a layer computes is in
// model_options.h.
#pragma once

#include <cstdint>
#include <string>

#include "grove/train/options.h"

namespace grove::nn {
struct ModuleOptions;
}

namespace grove::train {

struct RoutingOptions {
  double balance = -1;
  double hardening = 0;
  std::string hardening_schedule = "constant";
  double region_leak = 0;
  int64_t train_paths = 0;
  bool train_hardened = false;
};

// Appends the options to `list`.
void AddRoutingOptions(RoutingOptions& routing, OptionList& list);

nn::ModuleOptions ModuleOptionsOf(const RoutingOptions& options);

}  // namespace grove::train
