// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// From scores to choices and gates: the routers of mixtures of experts and of product keys, once the dense products
// that give the scores are done. Choices are in order of falling score, of equals the lower index first; gates are a
// softmax over the chosen scores, or (Gates::kProbability) over all of them.
//
//   ChooseExperts({.experts = 32, .per_token = 4}, scores, tokens, {chosen.data(), gates.data()}, pool);
//
// Product keys (arXiv 1907.05242): S x S neurons, each a pair of a first half's and a second half's sub-key. The best
// pairs are found among those of the best sub-keys of each half: pair (i, j) of the i-th and j-th best has i j - 1
// pairs at least as good, so that only pairs with i j <= per_search can be among the best.
//
// Arguments are valid by contract; nothing here fails. Results do not depend on thread count or batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/thread_pool.h"
#include "grove/kernels/gated_experts.h"
#include "grove/kernels/gates.h"

namespace grove {

struct ExpertRouterShape {
  size_t experts = 0;
  size_t per_token = 1;  // 1 ... experts
  Gates gates = Gates::kRenormalized;
};

// scores [tokens, experts] -> choices [tokens, per_token].
void ChooseExperts(const ExpertRouterShape& shape, const float* scores, size_t tokens,
                   const ExpertChoiceBuffers& choices, ThreadPool& pool);
void ChooseExpertsReference(const ExpertRouterShape& shape, const double* scores, size_t tokens, uint32_t* chosen,
                            double* gates);

struct ProductKeyRouterShape {
  size_t sub_keys = 0;    // S, of each half
  size_t per_search = 1;  // 1 ... S
};

// first, second [searches, S]: scores of the sub-keys of each half -> choices [searches, per_search]: the pairs (i, j)
// with the largest first[i] + second[j], as i * S + j. Of equal pairs the one whose first half is better comes first,
// then the one whose second half is.
void ChooseProductKeys(const ProductKeyRouterShape& shape, const float* first, const float* second, size_t searches,
                       const ExpertChoiceBuffers& choices, ThreadPool& pool);
// Looks at all S x S pairs.
void ChooseProductKeysReference(const ProductKeyRouterShape& shape, const double* first, const double* second,
                                size_t searches, uint32_t* chosen, double* gates);

}  // namespace grove
