// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Dropout that several threads can do side by side and repeat: LibTorch has one generator for all threads, so that with
// two of them what is dropped depends on who comes first.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace grove::nn {

// Zeros with `probability`, the rest divided by 1 - probability; `x` itself outside training.
torch::Tensor Dropout(const torch::Tensor& x, double probability, bool training);

// While it lives, dropout of CPU tensors on this thread draws from a generator of its own.
class DropoutSeed {
 public:
  explicit DropoutSeed(uint64_t seed);
  ~DropoutSeed();
  DropoutSeed(const DropoutSeed&) = delete;
  DropoutSeed& operator=(const DropoutSeed&) = delete;
};

}  // namespace grove::nn
