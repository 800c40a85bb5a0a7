// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Leaf trees in vectors, compiled once per target. A block of tokens is routed, sorted by leaf, and every leaf runs as
// two small dense products over the tokens that chose it. A token's sum takes its leaves in ascending order, so that it
// does not depend on the block.

#include <algorithm>
#include <vector>

#include "grove/kernels/block_product-inl.h"
#include "grove/kernels/grouping.h"
#include "grove/kernels/leaf_route-inl.h"
#include "grove/kernels/padded_rows.h"

#if defined(GROVE_KERNELS_LEAF_TREE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_LEAF_TREE_INL_H_
#undef GROVE_KERNELS_LEAF_TREE_INL_H_
#else
#define GROVE_KERNELS_LEAF_TREE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Tokens that share a pass over the leaves: enough that a leaf has rows to reuse its weights for. 512 takes 10 to 20 %
// longer (32 leaves of 128 and 128 leaves of 32, 4,096 tokens).
inline constexpr size_t kLeafTokenBlock = 2048;

inline size_t LeafGrain(size_t tokens, const ThreadPool& pool) {
  const size_t share = (tokens + pool.threads() - 1) / pool.threads();
  return std::clamp<size_t>(share, 16, kLeafTokenBlock);
}

// hidden [rows, hidden_row] = x W1 + b1 of one leaf.
HWY_INLINE void LeafHidden(const PackedLeafTree& weights, size_t leaf, const std::vector<const float*>& x,
                           float* hidden) {
  const FloatTag d;
  const size_t stride = weights.hidden_row();
  const float* bias = weights.b1(leaf);
  RowsTimesMatrix(x.data(), x.size(), weights.shape().in_width, weights.w1(leaf), stride, stride,
                  [&](size_t r, size_t n, FloatVec sum) {
                    hn::StoreU(hn::Add(sum, hn::LoadU(d, bias + n)), d, hidden + r * stride + n);
                  });
}

// y[token] += gate * (hidden W2 + b2) of one leaf.
HWY_INLINE void LeafOutput(const PackedLeafTree& weights, size_t leaf, const std::vector<const float*>& hidden,
                           const std::vector<float>& gates, const std::vector<float*>& y) {
  const FloatTag d;
  const float* bias = weights.b2(leaf);
  RowsTimesMatrix(hidden.data(), hidden.size(), weights.shape().leaf_width, weights.w2(leaf), weights.out_row(),
                  weights.out_row(), [&](size_t r, size_t n, FloatVec sum) {
                    const FloatVec value = hn::Add(sum, hn::LoadU(d, bias + n));
                    hn::StoreU(hn::MulAdd(hn::Set(d, gates[r]), value, hn::LoadU(d, y[r] + n)), d, y[r] + n);
                  });
}

HWY_INLINE void LeafForwardBlock(const PackedLeafTree& weights, const float* x, size_t tokens, float* y,
                                 uint32_t* leaves, float* gates) {
  const LeafTreeShape& shape = weights.shape();
  const PaddedInput input(x, tokens, shape.in_width);
  PaddedOutput output(y, tokens, shape.out_width);
  LeafRouter router(weights);
  for (size_t t = 0; t < tokens; ++t) router.Route(input.row(t), leaves + t * shape.paths, gates + t * shape.paths);

  std::vector<const float*> rows, hidden_rows;
  std::vector<float> row_gates;
  std::vector<float*> out_rows;
  const size_t stride = weights.hidden_row();
  AlignedArray<float> hidden(tokens * stride);
  const Grouping by_leaf(leaves, tokens * shape.paths, shape.leaves());
  for (const auto& [leaf, positions] : by_leaf.groups()) {
    rows.clear(), hidden_rows.clear(), row_gates.clear(), out_rows.clear();
    for (const size_t at : positions) {
      const size_t t = at / shape.paths;
      hidden_rows.push_back(hidden.data() + rows.size() * stride);
      rows.push_back(input.row(t));
      row_gates.push_back(gates[at]);
      out_rows.push_back(output.row(t));
    }
    LeafHidden(weights, leaf, rows, hidden.data());
    ActivateRow(shape.activation, hidden.data(), hidden.data(), rows.size() * stride);
    LeafOutput(weights, leaf, hidden_rows, row_gates, out_rows);
  }
  output.Finish();
}

inline void LeafTreeForwardSimd(const PackedLeafTree& weights, const float* x, size_t tokens, float* y,
                                const LeafTreeTrace* trace, ThreadPool& pool) {
  const LeafTreeShape& shape = weights.shape();
  pool.ParallelFor(tokens, LeafGrain(tokens, pool), [&](size_t begin, size_t end) {
    std::vector<uint32_t> leaves((end - begin) * shape.paths);
    std::vector<float> gates(leaves.size());
    LeafForwardBlock(weights, x + begin * shape.in_width, end - begin, y + begin * shape.out_width, leaves.data(),
                     gates.data());
    if (!trace) return;
    std::copy(leaves.begin(), leaves.end(), trace->leaves + begin * shape.paths);
    std::copy(gates.begin(), gates.end(), trace->gates + begin * shape.paths);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_LEAF_TREE_INL_H_
