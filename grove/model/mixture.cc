// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/mixture.h"

#include <vector>

#include "grove/base/scratch.h"

namespace grove {

Mixture::Mixture(const MixtureShape& shape, const MixtureWeights& weights, const ThreadPool& pool)
    : shape_(shape),
      router_({.in = shape.experts.in_width, .out = shape.experts.experts}, weights.router, nullptr, pool),
      experts_(shape.experts, weights.experts) {}

void Mixture::Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const {
  ScratchVector<float> scores(tokens * shape_.experts.experts);
  ScratchVector<uint32_t> chosen(tokens * shape_.per_token);
  ScratchVector<float> gates(chosen.size());
  router_.Forward(x, tokens, scores.data(), pool);
  ChooseExperts(shape_.router(), scores.data(), tokens, {chosen.data(), gates.data()}, pool);
  GatedExpertsForward(experts_, x, tokens, {chosen.data(), gates.data(), shape_.per_token}, y, pool);
}

size_t Mixture::bytes() const {
  return experts_.bytes() + shape_.experts.experts * shape_.experts.in_width * sizeof(float);
}

void MixtureReference(const MixtureShape& shape, const MixtureWeights& weights, const float* x, size_t tokens,
                      float* y) {
  const size_t experts = shape.experts.experts, width = shape.experts.in_width;
  std::vector<double> scores(tokens * experts), gates(tokens * shape.per_token);
  std::vector<uint32_t> chosen(gates.size());
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t e = 0; e < experts; ++e) {
      for (size_t i = 0; i < width; ++i)
        scores[t * experts + e] += double{weights.router[e * width + i]} * x[t * width + i];
    }
  }
  ChooseExpertsReference(shape.router(), scores.data(), tokens, chosen.data(), gates.data());
  GatedExpertsReference(shape.experts, weights.experts, x, tokens, chosen.data(), gates.data(), shape.per_token, y);
}

}  // namespace grove
