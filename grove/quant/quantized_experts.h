// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The nets of gated_experts.h (leaves, experts; with one expert that every token takes, a dense layer) with bf16 or
// int8 weights. Routers stay fp32. Equations, for token x and expert e with gate g:
//
//   bf16   h = act(bf16(x) bf16(W1_e) + b1_e);   y += g (bf16(h) bf16(W2_e) + b2_e)
//   int8   every column of W1_e and W2_e has a scale, every x and every h its own:
//          h = act(sx s1 (qx Q1_e) + b1_e) = sh qh;   y += g (sh s2 (qh Q2_e) + b2_e)
//
// A token's sum takes its experts in ascending order. Results do not depend on threads, batch or grouping; those of
// int8 not on the instruction set either.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/base/thread_pool.h"
#include "grove/base/weights.h"
#include "grove/kernels/gated_experts.h"
#include "grove/quant/encoded_rows.h"
#include "grove/quant/quantization.h"

namespace grove {

// One of the two matrices of every expert, cut into panels of kPanelColumns: [experts][panels][depth / group][columns
// of the panel][group], group = 2 (bf16) or 4 (int8), depth and columns padded with zeros to multiples of `group`
// and 16.
class QuantizedMatrices {
 public:
  static constexpr size_t kPanelColumns = 64;

  // values [count, depth, columns], of that precision or fp32
  QuantizedMatrices(const WeightsView& values, size_t count, size_t depth, size_t columns, Quantization precision);

  size_t groups() const { return groups_; }
  size_t columns() const { return columns_; }  // padded
  size_t panels() const { return (columns_ + kPanelColumns - 1) / kPanelColumns; }
  size_t panel_columns(size_t panel) const { return std::min(kPanelColumns, columns_ - panel * kPanelColumns); }
  const std::byte* panel(size_t e, size_t panel) const {
    return values_.data() + groups_ * (e * columns_ + panel * kPanelColumns) * 4;
  }
  const float* scales(size_t e) const { return scales_.data() + e * columns_; }  // int8 only
  const int32_t* sums(size_t e) const { return sums_.data() + e * columns_; }    // of each column
  size_t bytes() const { return values_.size() + 4 * (scales_.size() + sums_.size()); }

 private:
  // from [depth, columns] of one expert
  template <size_t kGroup, class Element>
  void Pack(const Element* from, size_t depth, size_t columns, Element* to) const;
  size_t GroupPosition(size_t group, size_t column) const {
    const size_t at = column / kPanelColumns;
    return groups_ * at * kPanelColumns + group * panel_columns(at) + column % kPanelColumns;
  }

  size_t groups_, columns_;
  AlignedArray<std::byte> values_;
  AlignedArray<float> scales_;
  AlignedArray<int32_t> sums_;
};

// Views in the checkpoint's layout, as ExpertsWeights; matrices of the precision that is asked for, or fp32.
struct QuantizedExpertsWeights {
  WeightsView w1;             // [experts, in_width, hidden_width]
  const float* b1 = nullptr;  // [experts, hidden_width]
  WeightsView w2;             // [experts, hidden_width, out_width]
  const float* b2 = nullptr;  // [experts, out_width]
};

class QuantizedExperts {
 public:
  QuantizedExperts(const ExpertsShape& shape, const QuantizedExpertsWeights& weights, Quantization precision);
  QuantizedExperts(const ExpertsShape& shape, const ExpertsWeights& weights, Quantization precision)
      : QuantizedExperts(shape, QuantizedExpertsWeights{weights.w1, weights.b1, weights.w2, weights.b2}, precision) {}

  const ExpertsShape& shape() const { return shape_; }
  Quantization precision() const { return precision_; }
  const QuantizedMatrices& w1() const { return w1_; }
  const QuantizedMatrices& w2() const { return w2_; }
  const float* b1(size_t e) const { return b1_.data() + e * w1_.columns(); }
  const float* b2(size_t e) const { return b2_.data() + e * w2_.columns(); }
  size_t bytes() const { return w1_.bytes() + w2_.bytes() + 4 * (b1_.size() + b2_.size()); }

 private:
  ExpertsShape shape_;
  Quantization precision_;
  QuantizedMatrices w1_, w2_;
  AlignedArray<float> b1_, b2_;
};

// x [tokens, in_width] -> y [tokens, out_width], overwritten; x and y must not overlap.
void GatedExpertsForward(const QuantizedExperts& experts, const float* x, size_t tokens, const ExpertChoices& choices,
                         float* y, ThreadPool& pool);
// The same of rows that are encoded already, w1().groups() each, on the calling thread.
void GatedExpertsForward(const QuantizedExperts& experts, const EncodedRows& x, size_t tokens,
                         const ExpertChoices& choices, float* y);
// Tokens of a thread at once.
size_t ExpertTokens(size_t tokens, const ThreadPool& pool);

// The oracle, from the original weights: sums in double where they are not integers.
void QuantizedExpertsReference(const ExpertsShape& shape, const ExpertsWeights& weights, Quantization precision,
                               const float* x, size_t tokens, const ExpertChoices& choices, float* y);

}  // namespace grove
