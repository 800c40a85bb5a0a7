// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// To be read beside score_router.h. Slow on purpose: everything is sorted.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "grove/kernels/score_router.h"

namespace grove {
namespace {

// Indices of `values` in order of falling value, of equals the lower one first.
std::vector<size_t> FallingOrder(const double* values, size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] > values[b]; });
  return order;
}

}  // namespace

void ChooseExpertsReference(const ExpertRouterShape& shape, const double* scores, size_t tokens, uint32_t* chosen,
                            double* gates) {
  for (size_t t = 0; t < tokens; ++t, scores += shape.experts, chosen += shape.per_token, gates += shape.per_token) {
    const std::vector<size_t> order = FallingOrder(scores, shape.experts);
    const double largest = scores[order[0]];
    const size_t summed = shape.gates == Gates::kRenormalized ? shape.per_token : shape.experts;
    double total = 0;
    for (size_t s = 0; s < summed; ++s) total += std::exp(scores[order[s]] - largest);
    for (size_t s = 0; s < shape.per_token; ++s) {
      chosen[s] = static_cast<uint32_t>(order[s]);
      gates[s] = std::exp(scores[order[s]] - largest) / total;
    }
  }
}

void ChooseProductKeysReference(const ProductKeyRouterShape& shape, const double* first, const double* second,
                                size_t searches, uint32_t* chosen, double* gates) {
  const size_t S = shape.sub_keys, k = shape.per_search;
  for (size_t q = 0; q < searches; ++q, first += S, second += S, chosen += k, gates += k) {
    std::vector<double> sums;
    std::vector<size_t> names;
    const std::vector<size_t> second_order = FallingOrder(second, S);
    for (const size_t i : FallingOrder(first, S)) {
      for (const size_t j : second_order) {
        sums.push_back(first[i] + second[j]);
        names.push_back(i * S + j);
      }
    }
    const std::vector<size_t> order = FallingOrder(sums.data(), sums.size());
    double total = 0;
    for (size_t s = 0; s < k; ++s) total += std::exp(sums[order[s]] - sums[order[0]]);
    for (size_t s = 0; s < k; ++s) {
      chosen[s] = static_cast<uint32_t>(names[order[s]]);
      gates[s] = std::exp(sums[order[s]] - sums[order[0]]) / total;
    }
  }
}

}  // namespace grove
