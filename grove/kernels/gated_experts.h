// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What leaf trees and mixtures of experts do once a router has chosen: every token passes through n of E small nets.
//
//     y[t] = sum over j < n of gates[t, j] f_e(x[t]), e = chosen[t, j]
//     f_e(x) = act(x W1_e + b1_e) W2_e + b2_e        W1_e [in_width, hidden_width], W2_e [hidden_width, out_width]
//
// A token's sum takes its experts in ascending order, whatever the order of its choices and whichever tokens share a
// call: results do not depend on thread count, batch or grouping.
//
//   PackedExperts experts(shape, weights);                                    // once, at load
//   RouteLeaves(router, x, tokens, {chosen.data(), gates.data()}, pool);      // or ChooseExperts(), for mixtures
//   GatedExpertsForward(experts, x, tokens, {chosen.data(), gates.data(), n}, y, pool);
//
// Arguments are valid by contract; nothing here fails. Other precisions and other forms (few tokens, many tokens)
// belong behind this entry: a caller knows the packed weights and the choices, not how they are computed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/kernels/activation.h"

namespace grove {

struct ExpertsShape {
  size_t experts = 0;  // of leaf trees: the leaves of all trees, tree-major
  size_t in_width = 0;
  size_t hidden_width = 0;
  size_t out_width = 0;
  Activation activation = Activation::kGelu;
};

// Views in the checkpoint's layout.
struct ExpertsWeights {
  const float* w1 = nullptr;  // [experts, in_width, hidden_width]
  const float* b1 = nullptr;  // [experts, hidden_width]
  const float* w2 = nullptr;  // [experts, hidden_width, out_width]
  const float* b2 = nullptr;  // [experts, out_width]
};

// Rows padded to whole cache lines, for aligned vector loads.
class PackedExperts {
 public:
  PackedExperts(const ExpertsShape& shape, const ExpertsWeights& weights);

  const ExpertsShape& shape() const { return shape_; }
  size_t hidden_row() const { return hidden_row_; }
  size_t out_row() const { return out_row_; }
  const float* w1(size_t e) const { return w1_.data() + e * shape_.in_width * hidden_row_; }  // [in_width, hidden_row]
  const float* b1(size_t e) const { return b1_.data() + e * hidden_row_; }
  const float* w2(size_t e) const {
    return w2_.data() + e * shape_.hidden_width * out_row_;
  }  // [hidden_width, out_row]
  const float* b2(size_t e) const { return b2_.data() + e * out_row_; }
  size_t bytes() const { return sizeof(float) * (w1_.size() + b1_.size() + w2_.size() + b2_.size()); }

 private:
  ExpertsShape shape_;
  size_t hidden_row_, out_row_;
  AlignedArray<float> w1_, b1_, w2_, b2_;
};

// What a router chose for each token, no expert twice. Both arrays [tokens, per_token].
struct ExpertChoices {
  const uint32_t* chosen = nullptr;
  const float* gates = nullptr;
  size_t per_token = 1;
};

// Where a router writes it, arrays as in ExpertChoices.
struct ExpertChoiceBuffers {
  uint32_t* chosen = nullptr;
  float* gates = nullptr;
};

// x [tokens, in_width] -> y [tokens, out_width], overwritten; x and y must not overlap.
void GatedExpertsForward(const PackedExperts& experts, const float* x, size_t tokens, const ExpertChoices& choices,
                         float* y, ThreadPool& pool);

// The oracle: scalar, sums in double. chosen and gates [tokens, per_token].
void GatedExpertsReference(const ExpertsShape& shape, const ExpertsWeights& weights, const float* x, size_t tokens,
                           const uint32_t* chosen, const double* gates, size_t per_token, float* y);

}  // namespace grove
