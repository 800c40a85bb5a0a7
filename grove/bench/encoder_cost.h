// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What an encoder has to compute and to move, counted from its config: the numerator of a roofline.
#pragma once

#include <cstddef>
#include <vector>

#include "grove/io/model_config.h"
#include "grove/model/dense_product.h"

namespace grove::bench {

struct EncoderCost {
  double flops = 0;         // two for a product and its addition; norms and activations not counted
  double bytes = 0;         // weights that are needed, once a batch; activations once for each pass over them
  double weight_bytes = 0;  // of all layers, needed or not; without the embedding
};

// One batch of `sequences` lengths. Weights are of `precision`. Trees need the rows of
// as many different neurons as the tokens can visit at most.
EncoderCost CostOf(const ModelConfig& config, Precision precision, const std::vector<size_t>& lengths);

}  // namespace grove::bench
