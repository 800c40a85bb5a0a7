// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/quantized_router.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <span>

#include "grove/kernels/target.h"
#include "grove/quant/exact_activation.h"
#include "grove/quant/row_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/quant/quantized_router.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/leaf_router-inl.h"
#include "grove/quant/exact_activation-inl.h"

#ifndef GROVE_QUANT_WHOLE_ROUTER_DEPTH
#define GROVE_QUANT_WHOLE_ROUTER_DEPTH
namespace grove {
// Trees of which tiles compute all decisions at once: that costs less than to look for those that are needed.
inline constexpr size_t kWholeDepth = 8;
}  // namespace grove
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// As FloatNodes of leaf_router-inl.h, of rows in int8.
class IntegerNodes {
 public:
  explicit IntegerNodes(const QuantizedLeafRouter& router) : router_(router), kernels_(RowKernelsFor()) {}

  static size_t TopLevels(size_t depth) {
    return ActiveTargetHasTiles() && depth <= kWholeDepth ? depth : TopLevelsOf(depth);
  }

  HWY_INLINE void Logits(std::span<const uint32_t> nodes, const void* const* x, size_t tokens,
                         float* const* logits) const {
    std::array<int32_t, kRouterChunk> dots;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const size_t n = nodes[i];
      kernels_.int8_dots(router_.node(n), router_.row(), reinterpret_cast<const uint8_t* const*>(x), nullptr, tokens,
                         dots.data());
      for (size_t t = 0; t < tokens; ++t) ScaleLoop(dots.data() + t, ScalesOf(n, x[t]), 1, logits[t] + i);
    }
  }

  HWY_INLINE void Top(size_t first, size_t count, const void* const* x, size_t tokens, float* const* logits) const {
    constexpr size_t kColumns = QuantizedLeafRouter::kPanelColumns;
    if (count > router_.block_nodes()) return TopByRows(first, count, x, tokens, logits);
    const size_t tree = first / std::max<size_t>(router_.shape().decisions(), 1);
    HWY_ALIGN int32_t sums[kRouterChunk * kColumns];
    for (size_t n = 0; n < count; n += kColumns) {
      kernels_.int8_block(reinterpret_cast<const uint8_t* const*>(x), tokens, router_.row() / 4,
                          router_.block(tree, n / kColumns), kColumns, sums);
      for (size_t t = 0; t < tokens; ++t) {
        ScaleLoop(sums + t * kColumns, ScalesOf(first + n, x[t]), std::min(kColumns, count - n), logits[t] + n);
      }
    }
  }

  HWY_INLINE float Logit(size_t node, const void* x) const {
    float logit;
    float* const to = &logit;
    const auto n = static_cast<uint32_t>(node);
    Logits({&n, 1}, &x, 1, &to);
    return logit;
  }
  void Prefetch(size_t node) const {
    for (size_t i = 0; i < router_.row(); i += kCacheLineBytes) hwy::Prefetch(router_.node(node) + i);
  }

 private:
  SumScales ScalesOf(size_t node, const void* x) const {
    return {kernels_.int8_shift, EncodedRows::ScaleOf(x, router_.row()), router_.sums(node), router_.scales(node),
            router_.biases(node)};
  }
  HWY_INLINE void TopByRows(size_t first, size_t count, const void* const* x, size_t tokens,
                            float* const* logits) const {
    std::vector<uint32_t>& nodes = ThreadRouterScratch().nodes;
    nodes.resize(count);
    std::iota(nodes.begin(), nodes.end(), static_cast<uint32_t>(first));
    Logits(nodes, x, tokens, logits);
  }

  const QuantizedLeafRouter& router_;
  const RowKernels& kernels_;
};

void RouteEncodedSimd(const QuantizedLeafRouter& router, const EncodedRows& x, size_t tokens,
                      const ExpertChoiceBuffers& choices) {
  const LeafRouterShape& shape = router.shape();
  std::array<const void*, kRouterChunk> rows;
  for (size_t begin = 0; begin < tokens; begin += kRouterChunk) {
    const size_t count = std::min(kRouterChunk, tokens - begin), at = begin * shape.leaves_per_token();
    for (size_t t = 0; t < count; ++t) rows[t] = x.row(begin + t);
    RouteRows(IntegerNodes(router), shape, rows.data(), count, {choices.chosen + at, choices.gates + at});
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grove {
namespace {

HWY_EXPORT(RouteEncodedSimd);

// Of a tree: as many as any form computes whole, if those are not too many.
size_t BlockNodes(const LeafRouterShape& shape) {
  constexpr size_t kMostTopLevels = 6;
  return (size_t{1} << (shape.depth <= kWholeDepth ? shape.depth : kMostTopLevels)) - 1;
}

}  // namespace

QuantizedLeafRouter::QuantizedLeafRouter(const LeafRouterShape& shape, const LeafRouterWeights& weights)
    : shape_(shape),
      row_(RoundUpToRow(shape.width)),
      block_nodes_(BlockNodes(shape)),
      rows_(shape.trees * shape.decisions() * row_),
      blocks_(shape.trees * Panels() * row_ * kPanelColumns),
      scales_(shape.trees * shape.decisions()),
      biases_(shape.trees * shape.decisions()),
      sums_(shape.trees * shape.decisions()) {
  for (size_t n = 0; n < scales_.size(); ++n) {
    int8_t* row = rows_.data() + n * row_;
    scales_[n] = QuantizeRow(weights.weights + n * shape.width, shape.width, row);
    sums_[n] = std::accumulate(row, row + shape.width, int32_t{0});
    biases_[n] = weights.biases[n];
  }
  for (size_t tree = 0; tree < shape.trees; ++tree) PackBlock(tree);
}

void QuantizedLeafRouter::PackBlock(size_t tree) {
  for (size_t n = 0; n < block_nodes_; ++n) {
    const int8_t* from = node(tree * shape_.decisions() + n);
    int8_t* to = blocks_.data() + (tree * Panels() + n / kPanelColumns) * row_ * kPanelColumns + n % kPanelColumns * 4;
    for (size_t i = 0; i < row_; i += 4, to += 4 * kPanelColumns) std::copy_n(from + i, 4, to);
  }
}

void RouteLeaves(const QuantizedLeafRouter& router, const EncodedRows& x, size_t tokens,
                 const ExpertChoiceBuffers& choices) {
  HWY_DYNAMIC_DISPATCH(RouteEncodedSimd)(router, x, tokens, choices);
}

}  // namespace grove
#endif  // HWY_ONCE
