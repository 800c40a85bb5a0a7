// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Dense layers out of libraries that others wrote, so that a speed-up is not one over our own code.
//
//   oneDNN     fp32, bf16, int8: two matmul primitives with GELU fused into the first. int8 with static scales: one for
//              all of x and one for the hidden values, which costs less than our scales for each token
//   OpenBLAS   fp32: sgemm, or sgemv for a single token, and our vectorized GELU. Loaded at run time where it is
//   installed
//
// Conversions of x that a precision needs are part of the measured time, for the rivals as for us.
#pragma once

#include <memory>
#include <optional>

#include "grove/bench/layer_contender.h"

namespace grove::bench {

// What int8 has static scales for: the largest input, and a hidden value that few exceed (they are cut off).
struct DenseRange {
  float input = 1.7320509f;  // random input is uniform within it
  float hidden = 5.5f;       // of its logits, which have variance 1
};

// No value for `precision` means fp32. Null where oneDNN has no products of that precision for this machine.
std::unique_ptr<LayerContender> MakeOneDnnContender(size_t width, size_t neurons, std::optional<Quantization> precision,
                                                    const DenseRange& range = {});

// Null where OpenBLAS is not installed.
std::unique_ptr<LayerContender> MakeOpenBlasContender(size_t width, size_t neurons);

}  // namespace grove::bench
