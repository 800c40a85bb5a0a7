// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The router of a leaf tree in bf16 or int8: leaf_router.h with nodes and tokens that are rounded as the leaves' are.
//
//   bf16   logit = bf16(x) . bf16(w[n]) + b[n], sums in fp32
//   int8   x = sx qx, w[n] = s[n] q[n]:   logit = (qx . q[n]) (sx s[n]) + b[n], the same on every instruction set
#pragma once

#include <cstddef>
#include <cstdint>

#include "grove/base/aligned.h"
#include "grove/kernels/gated_experts.h"
#include "grove/kernels/leaf_router.h"
#include "grove/quant/encoded_rows.h"

namespace grove {

class QuantizedLeafRouter {
 public:
  static constexpr size_t kPanelColumns = 32;

  QuantizedLeafRouter(const LeafRouterShape& shape, const LeafRouterWeights& weights, Quantization precision);

  const LeafRouterShape& shape() const { return shape_; }
  Quantization precision() const { return precision_; }
  size_t row() const { return row_; }  // bytes of a padded row
  const std::byte* node(size_t n) const { return rows_.data() + n * row_; }
  // Of nodes from `n` on.
  const float* biases(size_t n) const { return biases_.data() + n; }
  const float* scales(size_t n) const { return scales_.data() + n; }  // int8 only
  const int32_t* sums(size_t n) const { return sums_.data() + n; }    // of their weights, int8 only

  // The first nodes of each tree once more, breadth-first, as blocks of a product: panels [row / 4, 32] of 4 bytes.
  size_t block_nodes() const { return block_nodes_; }
  const std::byte* block(size_t tree, size_t panel) const {
    return blocks_.data() + (tree * Panels() + panel) * row_ * kPanelColumns;
  }

  size_t bytes() const { return rows_.size() + blocks_.size() + 4 * (scales_.size() + biases_.size() + sums_.size()); }

 private:
  size_t Panels() const { return (block_nodes_ + kPanelColumns - 1) / kPanelColumns; }
  void PackBlock(size_t tree);

  LeafRouterShape shape_;
  Quantization precision_;
  size_t row_, block_nodes_;
  AlignedArray<std::byte> rows_, blocks_;
  AlignedArray<float> scales_, biases_;
  AlignedArray<int32_t> sums_;
};

// x: `tokens` rows of shape().width in that precision, with their scales in them -> choices as of RouteLeaves(), on the
// calling thread.
void RouteLeaves(const QuantizedLeafRouter& router, const EncodedRows& x, size_t tokens,
                 const ExpertChoiceBuffers& choices);

}  // namespace grove
