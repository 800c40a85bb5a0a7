// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/quantized_neuron_tree.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "grove/base/bf16.h"
#include "grove/base/check.h"
#include "grove/kernels/tree_walk.h"
#include "grove/quant/exact_activation.h"
#include "grove/quant/round_weights.h"
#include "grove/quant/row_kernels.h"

namespace grove {
namespace {

constexpr size_t kMostTerms = 128;  // of one path
constexpr size_t kMostAtOnce = TreeArithmetic::kMostAtOnce;
constexpr size_t kScaleBytes = 64;  // before the values of an int8 token: its scale

// Terms of a path are taken `group` at a time.
size_t Groups(const NeuronTreeShape& shape, size_t levels, size_t group) {
  const size_t terms = shape.two_sided ? 2 * levels : levels;
  return (terms + group - 1) / group;
}

void PrefetchColumns(const QuantizedNeuronTree& tree, size_t node, TreeArithmetic::Columns columns) {
  const size_t value = tree.row_bytes() / tree.row();
  PrefetchIntoL2(tree.out(node) + columns.begin * value, (columns.end - columns.begin) * value);
}

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

  bool takes_three() const override { return true; }
  void LogitsOfThree(size_t node, size_t left, const void* const* x, const void* const* ahead, size_t count,
                     float* logits) const override {
    const uint16_t* weights[3];
    float biases[3];
    for (size_t i = 0; i < 3; ++i) {
      const size_t n = i == 0 ? node : left + i - 1;
      weights[i] = reinterpret_cast<const uint16_t*>(tree_.in(n));
      biases[i] = tree_.bias(n);
    }
    kernels_.bf16_logits_of_three(weights, biases, tree_.row(), reinterpret_cast<const uint16_t* const*>(x), ahead,
                                  count, logits);
  }

  size_t TermBytes(size_t levels) const override { return sizeof(uint32_t) * Groups(tree_.shape(), levels, 2); }

  void Terms(const uint32_t*, size_t levels, const float* logits, std::byte* terms) const override {
    std::array<float, kMostTerms + 1> values{};
    const size_t count = ActivatePath(tree_.shape(), logits, levels, values.data());
    values[count] = 0.0f;
    auto* pairs = reinterpret_cast<uint32_t*>(terms);
    for (size_t p = 0; p < Groups(tree_.shape(), levels, 2); ++p) {
      pairs[p] = ToBf16(values[2 * p]).bits | uint32_t{ToBf16(values[2 * p + 1]).bits} << 16;
    }
  }

  void Outputs(const uint32_t* nodes, size_t levels, const std::byte* const* terms, size_t count, Columns columns,
               Into into, float* const* y) const override {
    const Path<uint16_t, 2> path(tree_, nodes, levels);
    const auto* scales = reinterpret_cast<const uint32_t* const*>(terms);
    for (size_t t = 0; t < count; t += kOutputTokens) {
      const size_t tokens = std::min(kOutputTokens, count - t);
      kernels_.bf16_outputs(path.rows.data(), path.groups, scales + t, columns, tokens, into, y + t);
    }
  }

  void PrefetchIn(size_t node) const override { PrefetchIntoL2(tree_.in(node), tree_.row_bytes()); }
  void PrefetchOut(size_t node, Columns columns) const override { PrefetchColumns(tree_, node, columns); }

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
    const int32_t offset = kernels_.int8_shift * scales.sum;
    for (size_t i = 0; i < count; ++i) {
      const float token_scale = *static_cast<const float*>(x[i]);
      logits[i] = static_cast<float>(dots[i] - offset) * (token_scale * scales.in) + tree_.bias(node);
    }
  }

  bool takes_three() const override { return false; }
  void LogitsOfThree(size_t, size_t, const void* const*, const void* const*, size_t, float*) const override {
    GROVE_CHECK(!"takes_three() was asked first");
  }

  // The groups' values, then their scale.
  size_t TermBytes(size_t levels) const override { return sizeof(uint32_t) * (Groups(tree_.shape(), levels, 4) + 1); }

  void Terms(const uint32_t* nodes, size_t levels, const float* logits, std::byte* terms) const override {
    const size_t quads = Groups(tree_.shape(), levels, 4);
    auto* values = reinterpret_cast<uint32_t*>(terms);
    values[quads] = std::bit_cast<uint32_t>(QuantizePath(nodes, levels, logits, quads, values));
  }

  void Outputs(const uint32_t* nodes, size_t levels, const std::byte* const* terms, size_t count, Columns columns,
               Into into, float* const* y) const override {
    const Path<int8_t, 4> path(tree_, nodes, levels);
    const auto* values = reinterpret_cast<const uint32_t* const*>(terms);
    std::array<float, kOutputTokens> scales{};
    for (size_t t = 0; t < count; t += kOutputTokens) {
      const size_t tokens = std::min(kOutputTokens, count - t);
      for (size_t i = 0; i < tokens; ++i) scales[i] = std::bit_cast<float>(values[t + i][path.groups]);
      kernels_.int8_outputs(path.rows.data(), path.groups, values + t, scales.data(), columns, tokens, into, y + t);
    }
  }

  void PrefetchIn(size_t node) const override { PrefetchIntoL2(tree_.in(node), tree_.row_bytes()); }
  void PrefetchOut(size_t node, Columns columns) const override { PrefetchColumns(tree_, node, columns); }

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

  // Kept from call to call. In a function of its own: a thread that meets the name in a closure alone would not make
  // it.
  static EncodedTokens& OfThread() {
    thread_local EncodedTokens tokens;
    return tokens;
  }

  void Resize(const QuantizedNeuronTree& tree, size_t tokens) {
    stride = tree.row_bytes() + (tree.precision() == Quantization::kInt8 ? kScaleBytes : 0);
    AtLeast(rows, tokens * stride);
  }

  // Tokens begin ... end - 1 of x.
  void Encode(const QuantizedNeuronTree& tree, const float* x, size_t begin, size_t end) {
    const size_t width = tree.shape().width;
    for (size_t t = begin; t < end; ++t) {
      std::byte* row = rows.data() + t * stride;
      if (tree.precision() == Quantization::kInt8) {
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
    if (RowKernelsFor().int8_shift != 0) {
      for (size_t i = 0; i < width; ++i) values[i] ^= 0x80;
    }
    std::fill_n(values + width, padded - width, uint8_t{0});  // their weights are 0
  }
};

}  // namespace

QuantizedNeuronTree::QuantizedNeuronTree(const NeuronTreeShape& shape, const QuantizedTreeWeights& weights,
                                         Quantization precision)
    : shape_(shape),
      precision_(precision),
      row_(RoundUpToRow(shape.width)),
      row_bytes_(row_ * (precision == Quantization::kInt8 ? 1 : 2)),
      stride_(row_bytes_ * (shape.two_sided ? 3 : 2)),
      rows_(shape.nodes() * stride_),
      bias_(shape.nodes()),
      scales_(precision == Quantization::kInt8 ? shape.nodes() : 0) {
  const Precision wanted = PrecisionOf(precision);
  const size_t nodes = shape.nodes();
  const WeightsShape in{.groups = nodes, .depth = shape.width};
  const WeightsShape out{.groups = 1, .depth = shape.width, .columns = nodes};
  if (weights.b_in) std::copy_n(weights.b_in, nodes, bias_.data());
  Weights memory;
  PackIn(RoundedView(weights.w_in, in, wanted, memory));
  PackOut(RoundedView(weights.w_out, out, wanted, memory), 1);
  if (shape.two_sided) PackOut(RoundedView(weights.w_out_left, out, wanted, memory), 2);
}

void QuantizedNeuronTree::PackIn(const WeightsView& in) {
  const size_t width = shape_.width;
  for (size_t n = 0; n < shape_.nodes(); ++n) {
    std::byte* row = rows_.data() + n * stride_;
    if (precision_ == Quantization::kBf16) {
      std::memcpy(row, in.bf16 + n * width, width * sizeof(Bf16));
      continue;
    }
    std::memcpy(row, in.int8 + n * width, width);
    scales_[n].in = in.scales[n];
    int32_t sum = 0;
    for (size_t i = 0; i < width; ++i) sum += in.int8[n * width + i];
    scales_[n].sum = sum;
  }
}

void QuantizedNeuronTree::PackOut(const WeightsView& out, size_t part) {
  const size_t nodes = shape_.nodes();
  const bool int8 = precision_ == Quantization::kInt8;
  for (size_t i = 0; i < shape_.width; ++i) {
    std::byte* rows = rows_.data() + part * row_bytes_;
    if (int8) {
      const size_t at = OutPosition(i, 4);
      for (size_t n = 0; n < nodes; ++n) rows[n * stride_ + at] = static_cast<std::byte>(out.int8[i * nodes + n]);
    } else {
      const size_t at = OutPosition(i, 2) * sizeof(Bf16);
      for (size_t n = 0; n < nodes; ++n) std::memcpy(rows + n * stride_ + at, out.bf16 + i * nodes + n, sizeof(Bf16));
    }
  }
  for (size_t n = 0; int8 && n < nodes; ++n) (part == 1 ? scales_[n].out : scales_[n].out_left) = out.scales[n];
}

void NeuronTreeForward(const QuantizedNeuronTree& weights, const float* x, size_t tokens, float* y, ThreadPool& pool) {
  const NeuronTreeShape& shape = weights.shape();
  const size_t width = shape.width, padded = weights.row();
  const Bf16Arithmetic bf16(weights);
  const Int8Arithmetic int8(weights);
  const TreeArithmetic& arithmetic =
      weights.precision() == Quantization::kInt8 ? static_cast<const TreeArithmetic&>(int8) : bf16;
  const auto walk = [&](EncodedTokens& encoded, size_t begin, size_t end, ThreadPool* together) {
    const size_t count = end - begin;
    const bool whole = padded == width;
    float* target = whole ? y + begin * width : AtLeast(encoded.y, count * padded);
    TreeWalk of_these(shape, arithmetic,
                      {.x = encoded.rows.data(),
                       .x_stride = encoded.stride,
                       .y = target,
                       .y_stride = padded,
                       .count = count,
                       .past_caches = whole && WalkPastCaches(shape, target, tokens)});
    together ? of_these.RunTogether(nullptr, *together) : of_these.Run(nullptr);
    for (size_t t = 0; !whole && t < count; ++t) std::copy_n(target + t * padded, width, y + (begin + t) * width);
  };
  if (WalkTogether(shape, tokens, pool.threads())) {
    EncodedTokens& encoded = EncodedTokens::OfThread();
    encoded.Resize(weights, tokens);
    pool.ParallelFor(tokens, 16, [&](size_t begin, size_t end) { encoded.Encode(weights, x, begin, end); });
    return walk(encoded, 0, tokens, &pool);
  }
  pool.ParallelFor(tokens, WalkGrain(shape, tokens, pool.threads()), [&](size_t begin, size_t end) {
    EncodedTokens& encoded = EncodedTokens::OfThread();
    encoded.Resize(weights, end - begin);
    encoded.Encode(weights, x + begin * width, 0, end - begin);
    walk(encoded, begin, end, nullptr);
  });
}

}  // namespace grove
