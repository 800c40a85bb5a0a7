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

// Products of encoded rows with nodes, and what they are worth.
struct Int8Products {
  using Sum = int32_t;
  const QuantizedLeafRouter& router;
  const RowKernels& kernels;

  void Dots(size_t n, const void* const* x, size_t tokens, Sum* sums) const {
    kernels.int8_dots(reinterpret_cast<const int8_t*>(router.node(n)), router.row(),
                      reinterpret_cast<const uint8_t* const*>(x), nullptr, tokens, sums);
  }
  void Block(const std::byte* block, const void* const* x, size_t tokens, Sum* sums) const {
    kernels.int8_block(reinterpret_cast<const uint8_t* const*>(x), tokens, router.row() / 4,
                       reinterpret_cast<const int8_t*>(block), QuantizedLeafRouter::kPanelColumns, sums);
  }
  HWY_INLINE void Logits(size_t n, size_t count, const void* x, const Sum* sums, float* logits) const {
    ScaleLoop(
        sums,
        {kernels.int8_shift, EncodedRows::ScaleOf(x, router.row()), router.sums(n), router.scales(n), router.biases(n)},
        count, logits);
  }
};

struct Bf16Products {
  using Sum = float;
  const QuantizedLeafRouter& router;
  const RowKernels& kernels;

  void Dots(size_t n, const void* const* x, size_t tokens, Sum* sums) const {
    kernels.bf16_logits(reinterpret_cast<const uint16_t*>(router.node(n)), 0.0f, router.row() / sizeof(uint16_t),
                        reinterpret_cast<const uint16_t* const*>(x), nullptr, tokens, sums);
  }
  void Block(const std::byte* block, const void* const* x, size_t tokens, Sum* sums) const {
    kernels.bf16_block(reinterpret_cast<const uint16_t* const*>(x), tokens, router.row() / 4,
                       reinterpret_cast<const uint16_t*>(block), QuantizedLeafRouter::kPanelColumns, sums);
  }
  HWY_INLINE void Logits(size_t n, size_t count, const void*, const Sum* sums, float* logits) const {
    for (size_t i = 0; i < count; ++i) logits[i] = sums[i] + router.biases(n)[i];
  }
};

// As FloatNodes of leaf_router-inl.h. A node's logit comes of the same product in every batch.
template <class Products>
class EncodedNodes {
 public:
  using Sum = typename Products::Sum;
  explicit EncodedNodes(const QuantizedLeafRouter& router) : router_(router), products_{router, RowKernelsFor()} {}

  static size_t TopLevels(size_t depth) {
    return ActiveTargetHasTiles() && depth <= kWholeDepth ? depth : TopLevelsOf(depth);
  }

  HWY_INLINE void Logits(std::span<const uint32_t> nodes, const void* const* x, size_t tokens,
                         float* const* logits) const {
    std::array<Sum, kRouterChunk> sums;
    for (size_t i = 0; i < nodes.size(); ++i) {
      products_.Dots(nodes[i], x, tokens, sums.data());
      for (size_t t = 0; t < tokens; ++t) products_.Logits(nodes[i], 1, x[t], sums.data() + t, logits[t] + i);
    }
  }

  HWY_INLINE void Top(size_t first, size_t count, const void* const* x, size_t tokens, float* const* logits) const {
    constexpr size_t kColumns = QuantizedLeafRouter::kPanelColumns;
    if (count > router_.block_nodes()) return TopByRows(first, count, x, tokens, logits);
    const size_t tree = first / std::max<size_t>(router_.shape().decisions(), 1);
    HWY_ALIGN Sum sums[kRouterChunk * kColumns];
    for (size_t n = 0; n < count; n += kColumns) {
      products_.Block(router_.block(tree, n / kColumns), x, tokens, sums);
      for (size_t t = 0; t < tokens; ++t) {
        products_.Logits(first + n, std::min(kColumns, count - n), x[t], sums + t * kColumns, logits[t] + n);
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
  HWY_INLINE void TopByRows(size_t first, size_t count, const void* const* x, size_t tokens,
                            float* const* logits) const {
    std::vector<uint32_t>& nodes = ThreadRouterScratch().nodes;
    nodes.resize(count);
    std::iota(nodes.begin(), nodes.end(), static_cast<uint32_t>(first));
    Logits(nodes, x, tokens, logits);
  }

  const QuantizedLeafRouter& router_;
  const Products products_;
};

void RouteEncodedSimd(const QuantizedLeafRouter& router, const EncodedRows& x, size_t tokens,
                      const ExpertChoiceBuffers& choices) {
  const LeafRouterShape& shape = router.shape();
  std::array<const void*, kRouterChunk> rows;
  for (size_t begin = 0; begin < tokens; begin += kRouterChunk) {
    const size_t count = std::min(kRouterChunk, tokens - begin), at = begin * shape.leaves_per_token();
    for (size_t t = 0; t < count; ++t) rows[t] = x.row(begin + t);
    const ExpertChoiceBuffers some{choices.chosen + at, choices.gates + at};
    router.precision() == Quantization::kInt8
        ? RouteRows(EncodedNodes<Int8Products>(router), shape, rows.data(), count, some)
        : RouteRows(EncodedNodes<Bf16Products>(router), shape, rows.data(), count, some);
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

QuantizedLeafRouter::QuantizedLeafRouter(const LeafRouterShape& shape, const LeafRouterWeights& weights,
                                         Quantization precision)
    : shape_(shape),
      precision_(precision),
      row_(RoundUpToRow(shape.width) * (precision == Quantization::kInt8 ? 1 : 2)),
      block_nodes_(BlockNodes(shape)),
      rows_(shape.trees * shape.decisions() * row_),
      blocks_(shape.trees * Panels() * row_ * kPanelColumns),
      scales_(precision == Quantization::kInt8 ? shape.trees * shape.decisions() : 0),
      biases_(shape.trees * shape.decisions()),
      sums_(scales_.size()) {
  for (size_t n = 0; n < biases_.size(); ++n) {
    const float* from = weights.weights + n * shape.width;
    biases_[n] = weights.biases[n];
    if (precision == Quantization::kBf16) {
      RoundRow(from, shape.width, reinterpret_cast<uint16_t*>(rows_.data() + n * row_));
      continue;
    }
    auto* row = reinterpret_cast<int8_t*>(rows_.data() + n * row_);
    scales_[n] = QuantizeRow(from, shape.width, row);
    sums_[n] = std::accumulate(row, row + shape.width, int32_t{0});
  }
  for (size_t tree = 0; tree < shape.trees; ++tree) PackBlock(tree);
}

void QuantizedLeafRouter::PackBlock(size_t tree) {
  constexpr size_t kGroup = 4;  // bytes
  for (size_t n = 0; n < block_nodes_; ++n) {
    const std::byte* from = node(tree * shape_.decisions() + n);
    std::byte* to = blocks_.data() + (tree * Panels() + n / kPanelColumns) * row_ * kPanelColumns;
    to += n % kPanelColumns * kGroup;
    for (size_t i = 0; i < row_; i += kGroup, to += kGroup * kPanelColumns) std::copy_n(from + i, kGroup, to);
  }
}

void RouteLeaves(const QuantizedLeafRouter& router, const EncodedRows& x, size_t tokens,
                 const ExpertChoiceBuffers& choices) {
  HWY_DYNAMIC_DISPATCH(RouteEncodedSimd)(router, x, tokens, choices);
}

}  // namespace grove
#endif  // HWY_ONCE
