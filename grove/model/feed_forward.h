// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The feedforward layer in each of its kinds. A new kind is one class here, one kernel and one value of
// "intermed_type".
#pragma once

#include <memory>
#include <string>

#include "grove/base/result.h"
#include "grove/base/thread_pool.h"
#include "grove/io/model_config.h"
#include "grove/io/safetensors.h"

namespace grove {

class FeedForward {
 public:
  virtual ~FeedForward() = default;
  // x [tokens, width] -> y [tokens, width], overwritten; x and y must not overlap.
  virtual void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const = 0;
};

// Reads the tensors "<prefix>...". `config` may be of any kind but kNone.
Result<std::unique_ptr<FeedForward>> LoadFeedForward(const SafetensorsFile& file, const std::string& prefix,
                                                     const FeedForwardConfig& config, int64_t width,
                                                     const ThreadPool& pool);

}  // namespace grove
