// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Activations of a neuron and their derivatives, in fp32.
#pragma once

#include "grove/nn/cuda/expert_kernels.h"

namespace grove::nn::cuda {

__device__ inline float Phi(float x) { return 0.5F * (1.0F + erff(x * 0.70710678F)); }

template <ExpertActivation kKind>
__device__ float Act(float x) {
  return kKind == ExpertActivation::kRelu ? fmaxf(x, 0.0F) : x * Phi(x);
}

template <ExpertActivation kKind>
__device__ float ActGradient(float x) {
  if (kKind == ExpertActivation::kRelu) return x > 0 ? 1.0F : 0.0F;
  return Phi(x) + x * 0.39894228F * __expf(-0.5F * x * x);
}

}  // namespace grove::nn::cuda
