// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

namespace grove {

// The weights of the leaves or experts that a token visits.
enum class Gates {
  kProbability,   // their probabilities
  kRenormalized,  // the same divided by their sum: exactly 1 for a single one
};

}  // namespace grove
