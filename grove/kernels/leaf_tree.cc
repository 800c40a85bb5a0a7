// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/kernels/leaf_tree.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/leaf_tree-inl.h"
#include "grove/kernels/leaf_tree_backward-inl.h"

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(LeafTreeForwardSimd);
HWY_EXPORT(LeafTreeBackwardSimd);

// [rows, columns] -> zero-padded [rows, stride].
AlignedArray<float> PadRows(const float* source, size_t rows, size_t columns, size_t stride) {
  AlignedArray<float> padded(rows * stride);
  for (size_t r = 0; r < rows; ++r) std::copy_n(source + r * columns, columns, padded.data() + r * stride);
  return padded;
}
}  // namespace

PackedLeafTree::PackedLeafTree(const LeafTreeShape& shape, const LeafTreeWeights& weights)
    : shape_(shape),
      node_row_(RoundUpToLine<float>(shape.in_width)),
      hidden_row_(RoundUpToLine<float>(shape.leaf_width)),
      out_row_(RoundUpToLine<float>(shape.out_width)),
      nodes_(PadRows(weights.node_weights, shape.decisions(), shape.in_width, node_row_)),
      node_biases_(PadRows(weights.node_biases, 1, shape.decisions(), shape.decisions())),
      w1_(PadRows(weights.w1, shape.leaves() * shape.in_width, shape.leaf_width, hidden_row_)),
      b1_(PadRows(weights.b1, shape.leaves(), shape.leaf_width, hidden_row_)),
      w2_(PadRows(weights.w2, shape.leaves() * shape.leaf_width, shape.out_width, out_row_)),
      b2_(PadRows(weights.b2, shape.leaves(), shape.out_width, out_row_)) {}

size_t PackedLeafTree::bytes() const {
  return sizeof(float) * (nodes_.size() + node_biases_.size() + w1_.size() + b1_.size() + w2_.size() + b2_.size());
}

void LeafTreeForward(const PackedLeafTree& weights, const float* x, size_t tokens, float* y, const LeafTreeTrace* trace,
                     ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(LeafTreeForwardSimd)(weights, x, tokens, y, trace, pool);
}

void LeafTreeBackward(const PackedLeafTree& weights, const float* x, const LeafTreeTrace& trace, const float* dy,
                      size_t tokens, const LeafTreeGradients& gradients, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(LeafTreeBackwardSimd)(weights, x, trace, dy, tokens, gradients, pool);
}

}  // namespace grove
#endif  // HWY_ONCE
