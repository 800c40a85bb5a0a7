// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/dropout.h"

#include <ATen/CPUGeneratorImpl.h>

#include <optional>

#include "grove/base/check.h"

namespace grove::nn {
namespace {

thread_local std::optional<at::Generator> own_generator;

}  // namespace

DropoutSeed::DropoutSeed(uint64_t seed) {
  GROVE_CHECK(!own_generator);  // one at a time
  own_generator = at::detail::createCPUGenerator(seed);
}

DropoutSeed::~DropoutSeed() { own_generator.reset(); }

torch::Tensor Dropout(const torch::Tensor& x, double probability, bool training) {
  if (!training || probability <= 0) return x;
  if (!own_generator || !x.device().is_cpu()) return torch::dropout(x, probability, /*train=*/true);
  torch::Tensor kept;
  {
    const torch::NoGradGuard no_grad;
    kept = torch::empty_like(x).bernoulli_(1.0 - probability, *own_generator).div_(1.0 - probability);
  }
  return x * kept;
}

}  // namespace grove::nn
