// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/quantized_neuron_tree.h"

#include <algorithm>
#include <array>
#include <vector>

#include "grove/base/bf16.h"
#include "grove/kernels/tree_walk.h"
#include "grove/quant/exact_activation.h"
#include "grove/quant/row_kernels.h"

namespace grove {
namespace {

constexpr size_t kMostTerms = 128;  // of one path
constexpr size_t kMostAtOnce = 64;  // tokens of one call, as in tree_walk.cc
constexpr size_t kScaleBytes = 64;  // before the values of an int8 token: its scale

// What the outputs of up to kOutputTokens tokens share: the rows of their path.
template <class Value, size_t kGroup>
struct Path {
  std::array<const Value*, kMostTerms> rows;
  size_t groups = 0;

  Path(const QuantizedNeuronTree& tree, const uint32_t* nodes, size_t levels) {
    size_t count = 0;
    for (size_t l = 0; l < levels; ++l) {
      rows[count++] = reinterpret_cast<const Value*>(tree.out(nodes[l]));
      if (tree.shape().two_sided) rows[count++] = reinterpret_cast<const Value*>(tree.out_left(nodes[l]));
    }
    while (count % kGroup != 0) rows[count++] = rows[0];  // multiplied with 0
    groups = count / kGroup;
  }
};

// Values of the terms of a path, right and left of each level in turn; returns how many.
size_t ActivatePath(const NeuronTreeShape& shape, const float* logits, size_t levels, float* values) {
  if (!shape.two_sided) {
    ExactActivate(shape.activation, 1.0f, logits, RoundUpToLine<float>(levels), values);
    return levels;
  }
  std::array<float, kMostTerms> right{}, left{};
  ExactActivate(shape.activation, 1.0f, logits, RoundUpToLine<float>(levels), right.data());
  ExactActivate(shape.activation, -1.0f, logits, RoundUpToLine<float>(levels), left.data());
  for (size_t l = 0; l < levels; ++l) values[2 * l] = right[l], values[2 * l + 1] = left[l];
  return 2 * levels;
}

class Bf16Arithmetic : public TreeArithmetic {
 public:
  explicit Bf16Arithmetic(const QuantizedNeuronTree& tree) : tree_(tree), kernels_(RowKernelsFor()) {}

  void Logits(size_t node, const void* const* x, const void* const* ahead, size_t count, float* logits) const override {
    kernels_.bf16_logits(reinterpret_cast<const uint16_t*>(tree_.in(node)), tree_.bias(node), tree_.row(),
                         reinterpret_cast<const uint16_t* const*>(x), ahead, count, logits);
  }

  void Outputs(const uint32_t* nodes, size_t levels, const float* const* logits, size_t count, Into into,
               float* const* y) const override {
    const Path<uint16_t, 2> path(tree_, nodes, levels);
    uint32_t scales[kOutputTokens][64];
    for (size_t t = 0; t < count; t += kOutputTokens) {
      const size_t tokens = std::min(kOutputTokens, count - t);
      for (size_t i = 0; i < tokens; ++i) {
        std::array<float, kMostTerms + 1> values{};
        const size_t terms = ActivatePath(tree_.shape(), logits[t + i], levels, values.data());
        values[terms] = 0.0f;
        for (size_t p = 0; p < path.groups; ++p) {
          scales[i][p] = ToBf16(values[2 * p]).bits | uint32_t{ToBf16(values[2 * p + 1]).bits} << 16;
        }
      }
      kernels_.bf16_outputs(path.rows.data(), path.groups, scales, tree_.row(), tokens, into, y + t);
    }
  }

  void PrefetchOut(size_t node) const override { PrefetchIntoL2(tree_.out(node), tree_.row_bytes()); }

 private:
  const QuantizedNeuronTree& tree_;
  const RowKernels& kernels_;
};

class Int8Arithmetic : public TreeArithmetic {
 public:
  explicit Int8Arithmetic(const QuantizedNeuronTree& tree) : tree_(tree), kernels_(RowKernelsFor()) {}

  void Logits(size_t node, const void* const* x, const void* const* ahead, size_t count, float* logits) const override {
    std::array<const uint8_t*, kMostAtOnce> values{};
    std::array<int32_t, kMostAtOnce> dots{};
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<const uint8_t*>(x[i]) + kScaleBytes;
    kernels_.int8_dots(reinterpret_cast<const int8_t*>(tree_.in(node)), tree_.row(), values.data(), ahead, count,
                       dots.data());
    const QuantizedNeuronTree::Scales& scales = tree_.scales(node);
    for (size_t i = 0; i < count; ++i) {
      const float token_scale = *static_cast<const float*>(x[i]);
      logits[i] = static_cast<float>(dots[i] - scales.offset) * (token_scale * scales.in) + tree_.bias(node);
    }
  }

  void Outputs(const uint32_t* nodes, size_t levels, const float* const* logits, size_t count, Into into,
               float* const* y) const override {
    const Path<int8_t, 4> path(tree_, nodes, levels);
    uint32_t values[kOutputTokens][64];
    float scales[kOutputTokens];
    for (size_t t = 0; t < count; t += kOutputTokens) {
      const size_t tokens = std::min(kOutputTokens, count - t);
      for (size_t i = 0; i < tokens; ++i) {
        scales[i] = QuantizePath(nodes, levels, logits[t + i], path.groups, values[i]);
      }
      kernels_.int8_outputs(path.rows.data(), path.groups, values, scales, tree_.row(), tokens, into, y + t);
    }
  }

  void PrefetchOut(size_t node) const override { PrefetchIntoL2(tree_.out(node), tree_.row_bytes()); }

 private:
  float QuantizePath(const uint32_t* nodes, size_t levels, const float* logits, size_t quads, uint32_t* packed) const {
    std::array<float, kMostTerms> values{};
    std::array<int8_t, kMostTerms> quantized;
    const size_t terms = ActivatePath(tree_.shape(), logits, levels, values.data());
    const bool two_sided = tree_.shape().two_sided;
    for (size_t l = 0; l < levels; ++l) {
      const QuantizedNeuronTree::Scales& scales = tree_.scales(nodes[l]);
      values[two_sided ? 2 * l : l] *= scales.out;
      if (two_sided) values[2 * l + 1] *= scales.out_left;
    }
    std::fill(values.begin() + ptrdiff_t(terms), values.begin() + ptrdiff_t(4 * quads), 0.0f);
    const float scale = QuantizeRow(values.data(), 4 * quads, quantized.data());
    for (size_t q = 0; q < quads; ++q) {
      packed[q] = 0;
      for (size_t i = 0; i < 4; ++i) packed[q] |= uint32_t{static_cast<uint8_t>(quantized[4 * q + i])} << (8 * i);
    }
    return scale;
  }

  const QuantizedNeuronTree& tree_;
  const RowKernels& kernels_;
};

// Rows of tokens in the form that Logits() takes; kept by each thread from call to call.
struct EncodedTokens {
  size_t stride = 0;
  AlignedArray<std::byte> rows;
  AlignedArray<float> y;  // where the caller's rows are no whole blocks

  void Encode(const QuantizedNeuronTree& tree, const float* x, size_t tokens) {
    const size_t width = tree.shape().width;
    const bool int8 = tree.precision() == Quantization::kInt8;
    stride = tree.row_bytes() + (int8 ? kScaleBytes : 0);
    if (rows.size() < tokens * stride) rows = AlignedArray<std::byte>(tokens * stride);
    for (size_t t = 0; t < tokens; ++t) {
      std::byte* row = rows.data() + t * stride;
      if (int8) {
        EncodeInt8(x + t * width, width, tree.row(), row);
      } else {
        RoundRow(x + t * width, width, reinterpret_cast<uint16_t*>(row));
        std::fill_n(row + 2 * width, 2 * (tree.row() - width), std::byte{0});
      }
    }
  }

 private:
  static void EncodeInt8(const float* x, size_t width, size_t padded, std::byte* row) {
    auto* values = reinterpret_cast<uint8_t*>(row + kScaleBytes);
    *reinterpret_cast<float*>(row) = QuantizeRow(x, width, reinterpret_cast<int8_t*>(values));
    for (size_t i = 0; i < width; ++i) values[i] ^= 0x80;
    std::fill_n(values + width, padded - width, uint8_t{0});  // their weights are 0
  }
};

}  // namespace

QuantizedNeuronTree::QuantizedNeuronTree(const NeuronTreeShape& shape, const NeuronTreeWeights& weights,
                                         Quantization precision)
    : shape_(shape),
      precision_(precision),
      row_(RoundUpToRow(shape.width)),
      row_bytes_(row_ * (precision == Quantization::kInt8 ? 1 : 2)),
      stride_(row_bytes_ * (shape.two_sided ? 3 : 2)),
      rows_(shape.nodes() * stride_),
      bias_(shape.nodes()),
      scales_(precision == Quantization::kInt8 ? shape.nodes() : 0) {
  std::vector<float> out(shape.width), left(shape.width);
  for (size_t n = 0; n < shape.nodes(); ++n) {
    if (weights.b_in) bias_[n] = weights.b_in[n];
    for (size_t i = 0; i < shape.width; ++i) {
      out[i] = weights.w_out[i * shape.nodes() + n];
      if (shape.two_sided) left[i] = weights.w_out_left[i * shape.nodes() + n];
    }
    const float* in = weights.w_in + n * shape.width;
    precision == Quantization::kInt8 ? PackInt8(in, out.data(), left.data(), n)
                                     : PackBf16(in, out.data(), left.data(), n);
  }
}

void QuantizedNeuronTree::PackBf16(const float* in, const float* out, const float* out_left, size_t node) {
  auto* row = reinterpret_cast<uint16_t*>(rows_.data() + node * stride_);
  RoundRow(in, shape_.width, row);
  for (size_t i = 0; i < shape_.width; ++i) {
    row[row_ + OutPosition(i, 2)] = ToBf16(out[i]).bits;
    if (shape_.two_sided) row[2 * row_ + OutPosition(i, 2)] = ToBf16(out_left[i]).bits;
  }
}

void QuantizedNeuronTree::PackInt8(const float* in, const float* out, const float* out_left, size_t node) {
  auto* row = reinterpret_cast<int8_t*>(rows_.data() + node * stride_);
  Scales& scales = scales_[node];
  scales.in = QuantizeRow(in, shape_.width, row);
  for (size_t i = 0; i < shape_.width; ++i) scales.offset += 128 * row[i];
  std::vector<int8_t> values(shape_.width);
  const auto spread = [&](const float* from, int8_t* to) {
    const float scale = QuantizeRow(from, shape_.width, values.data());
    for (size_t i = 0; i < shape_.width; ++i) to[OutPosition(i, 4)] = values[i];
    return scale;
  };
  scales.out = spread(out, row + row_);
  if (shape_.two_sided) scales.out_left = spread(out_left, row + 2 * row_);
}

void NeuronTreeForward(const QuantizedNeuronTree& weights, const float* x, size_t tokens, float* y, ThreadPool& pool) {
  const NeuronTreeShape& shape = weights.shape();
  const size_t width = shape.width, padded = weights.row();
  const Bf16Arithmetic bf16(weights);
  const Int8Arithmetic int8(weights);
  const TreeArithmetic& arithmetic =
      weights.precision() == Quantization::kInt8 ? static_cast<const TreeArithmetic&>(int8) : bf16;
  pool.ParallelFor(tokens, WalkGrain(shape, tokens, pool.threads()), [&](size_t begin, size_t end) {
    static thread_local EncodedTokens encoded;
    const size_t count = end - begin;
    encoded.Encode(weights, x + begin * width, count);
    const bool whole = padded == width;
    if (!whole && encoded.y.size() < count * padded) encoded.y = AlignedArray<float>(count * padded);
    float* target = whole ? y + begin * width : encoded.y.data();
    TreeWalk(shape, arithmetic)
        .Run({.x = encoded.rows.data(),
              .x_stride = encoded.stride,
              .y = target,
              .y_stride = padded,
              .count = count,
              .past_caches = whole && WalkPastCaches(shape, target, tokens)},
             nullptr);
    for (size_t t = 0; !whole && t < count; ++t) std::copy_n(target + t * padded, width, y + (begin + t) * width);
  });
}

}  // namespace grove
