// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The nonlinearity of a neuron. GELU is the exact form x * Phi(x), with Phi the normal distribution function (erf, not
// tanh).
#pragma once

#include <cmath>

namespace grove {

enum class Activation { kGelu, kRelu };

// In double: the oracle of the SIMD forms.
inline double Activate(Activation activation, double x) {
  if (activation == Activation::kRelu) return x > 0 ? x : 0;
  return 0.5 * x * (1.0 + std::erf(x * 0.70710678118654752440));
}

inline double ActivateDerivative(Activation activation, double x) {
  if (activation == Activation::kRelu) return x > 0 ? 1 : 0;
  constexpr double kInverseSqrt2Pi = 0.39894228040143267794;
  return 0.5 * (1.0 + std::erf(x * 0.70710678118654752440)) + x * kInverseSqrt2Pi * std::exp(-0.5 * x * x);
}

}  // namespace grove
