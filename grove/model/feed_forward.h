// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The feedforward layer in each of its kinds (docs/feedforward-kinds.md). A new kind is one file feed_forward_*.cc with
// its Load function and one line in the table of feed_forward.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "grove/base/arena.h"
#include "grove/base/result.h"
#include "grove/base/thread_pool.h"
#include "grove/io/model_config.h"
#include "grove/io/parameters.h"
#include "grove/model/dense_product.h"
#include "grove/model/layer_parameters.h"

namespace grove {

class FeedForward {
 public:
  virtual ~FeedForward() = default;
  // x [tokens, width] -> y [tokens, width], overwritten; x and y must not overlap. ids [tokens]: which token each row
  // belongs to, for layers that are routed by it; all others take null too. Scratch comes from `arena`.
  virtual void Forward(const float* x, const int32_t* ids, size_t tokens, float* y, Arena& arena,
                       ThreadPool& pool) const = 0;
};

// Whether a layer of that kind multiplies its large matrices in bf16 and int8; the others stay fp32 in every precision.
bool HasLowPrecision(const FeedForwardConfig& config);

// Reads the tensors of those names, of the model's layer number `layer`. `config` may be of any kind but kNone.
Result<std::unique_ptr<FeedForward>> LoadFeedForward(const ParameterSource& parameters, const FeedForwardNames& names,
                                                     const FeedForwardConfig& config, int64_t width, int64_t layer,
                                                     const ThreadPool& pool, Precision precision);

}  // namespace grove
