// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/quant/quantized_experts.h"

#include <algorithm>
#include <vector>

#include "grove/kernels/grouping.h"
#include "grove/kernels/padded_rows.h"
#include "grove/quant/exact_activation.h"
#include "grove/quant/round_weights.h"
#include "grove/quant/row_kernels.h"

namespace grove {
namespace {

static_assert(QuantizedMatrices::kPanelColumns <= kGatedColumns);
constexpr size_t kTokenBlock = 2048;  // as gated_experts-inl.h
constexpr size_t kMostRows = 256;     // of an expert at once: its products then stay in the second-level cache

// Kept by each thread from call to call.
struct Scratch {
  AlignedArray<float> products;  // of one panel, floats or integers
  AlignedArray<float> values;    // of one row or more
  std::vector<const std::byte*> rows;
  std::vector<float*> y;
  std::vector<float> gates;

  static Scratch& OfThread() {
    thread_local Scratch scratch;
    return scratch;
  }
};

// Tokens through the experts they chose, one expert at a time.
class ExpertBlock {
 public:
  ExpertBlock(const QuantizedExperts& experts, const ExpertChoices& choices, const EncodedRows& x, EncodedRows& hidden)
      : experts_(experts), choices_(choices), x_(x), hidden_(hidden), kernels_(RowKernelsFor()) {}

  // The hidden values of expert e for the choices at `positions`.
  void Hidden(size_t e, std::span<const size_t> positions) {
    Scratch& scratch = Scratch::OfThread();
    const QuantizedMatrices& w1 = experts_.w1();
    const size_t rows = positions.size(), columns = w1.columns();
    scratch.rows.clear();
    for (const size_t at : positions) scratch.rows.push_back(x_.row(at / choices_.per_token));
    float* products = AtLeast(scratch.products, rows * QuantizedMatrices::kPanelColumns);
    float* values = AtLeast(scratch.values, rows * columns);
    for (size_t panel = 0; panel < w1.panels(); ++panel) {
      const size_t begin = panel * QuantizedMatrices::kPanelColumns, width = w1.panel_columns(panel);
      Product(w1, e, panel, scratch.rows, products);
      for (size_t r = 0; r < rows; ++r) {
        const float scale = int8() ? x_.scale(positions[r] / choices_.per_token) : 0.0f;
        Finish(e, {begin, width}, scale, products + r * width, values + r * columns + begin);
      }
    }
    ExactActivate(experts_.shape().activation, 1.0f, values, rows * columns, values);
    for (size_t r = 0; r < rows; ++r) hidden_.Encode(r, values + r * columns, experts_.shape().hidden_width);
  }

  // What they add to the outputs, panel after panel, while its products are in the first-level cache.
  void AddOutput(size_t e, std::span<const size_t> positions, PaddedOutput& y) {
    Scratch& scratch = Scratch::OfThread();
    const QuantizedMatrices& w2 = experts_.w2();
    const size_t rows = positions.size();
    scratch.rows.clear(), scratch.y.clear(), scratch.gates.clear();
    for (size_t r = 0; r < rows; ++r) {
      scratch.rows.push_back(hidden_.row(r));
      scratch.y.push_back(y.row(positions[r] / choices_.per_token));
      scratch.gates.push_back(choices_.gates[positions[r]]);
    }
    float* products = AtLeast(scratch.products, rows * QuantizedMatrices::kPanelColumns);
    for (size_t panel = 0; panel < w2.panels(); ++panel) {
      Product(w2, e, panel, scratch.rows, products);
      const size_t column = panel * QuantizedMatrices::kPanelColumns;
      const GatedBlock block{rows, w2.panel_columns(panel), scratch.gates.data(), scratch.y.data()};
      if (int8()) {
        const SumScales scales{kernels_.int8_shift, 0.0f, w2.sums(e) + column, w2.scales(e) + column,
                               experts_.b2(e) + column};
        AddGated(block, reinterpret_cast<const int32_t*>(products), scales, hidden_.scales());
      } else {
        AddGated(block, products, experts_.b2(e) + column);
      }
      for (float*& row : scratch.y) row += QuantizedMatrices::kPanelColumns;
    }
  }

 private:
  struct Columns {
    size_t begin, count;
  };

  bool int8() const { return experts_.precision() == Quantization::kInt8; }

  // Of one row: products to values before the activation.
  void Finish(size_t e, Columns columns, float row_scale, const float* products, float* values) const {
    const float* bias = experts_.b1(e) + columns.begin;
    if (int8()) {
      const QuantizedMatrices& w1 = experts_.w1();
      return ScaleSums(reinterpret_cast<const int32_t*>(products),
                       {kernels_.int8_shift, row_scale, w1.sums(e) + columns.begin, w1.scales(e) + columns.begin, bias},
                       columns.count, values);
    }
    std::copy_n(products, columns.count, values);
    AddRow(bias, columns.count, values);
  }

  void Product(const QuantizedMatrices& matrices, size_t e, size_t panel, const std::vector<const std::byte*>& rows,
               float* products) const {
    const size_t columns = matrices.panel_columns(panel);
    const std::byte* weights = matrices.panel(e, panel);
    if (int8()) {
      kernels_.int8_block(reinterpret_cast<const uint8_t* const*>(rows.data()), rows.size(), matrices.groups(),
                          reinterpret_cast<const int8_t*>(weights), columns, reinterpret_cast<int32_t*>(products));
    } else {
      kernels_.bf16_block(reinterpret_cast<const uint16_t* const*>(rows.data()), rows.size(), matrices.groups(),
                          reinterpret_cast<const uint16_t*>(weights), columns, products);
    }
  }

  const QuantizedExperts& experts_;
  const ExpertChoices& choices_;
  const EncodedRows& x_;
  EncodedRows& hidden_;
  const RowKernels& kernels_;
};

}  // namespace

QuantizedMatrices::QuantizedMatrices(const WeightsView& values, size_t count, size_t depth, size_t columns,
                                     Quantization precision)
    : columns_(RoundUpToLine<float>(columns)) {
  const bool int8 = precision == Quantization::kInt8;
  const size_t group = int8 ? 4 : 2;
  groups_ = (depth + group - 1) / group;
  values_ = AlignedArray<std::byte>(count * groups_ * columns_ * 4);
  if (int8) {
    scales_ = AlignedArray<float>(count * columns_);
    sums_ = AlignedArray<int32_t>(count * columns_);
  }
  Weights memory;
  const WeightsView rounded =
      RoundedView(values, {.groups = count, .depth = depth, .columns = columns}, PrecisionOf(precision), memory);
  for (size_t e = 0; e < count; ++e) {
    std::byte* to = values_.data() + e * groups_ * columns_ * 4;
    const size_t from = e * depth * columns;
    if (!int8) {
      Pack<2>(rounded.bf16 + from, depth, columns, reinterpret_cast<Bf16*>(to));
      continue;
    }
    std::copy_n(rounded.scales + e * columns, columns, scales_.data() + e * columns_);
    Pack<4>(rounded.int8 + from, depth, columns, reinterpret_cast<int8_t*>(to));
    int32_t* sums = sums_.data() + e * columns_;
    for (size_t k = 0; k < depth; ++k) {
      for (size_t n = 0; n < columns; ++n) sums[n] += rounded.int8[from + k * columns + n];
    }
  }
}

// `rows` of [rows, columns], each value at its row's place in the column's group.
template <size_t kGroup, class Element, class Position>
static void Interleave(const Element* from, size_t rows, size_t columns, const Position& position, Element* to) {
  for (size_t n = 0; n < columns; ++n) {
    Element group[kGroup] = {};
    for (size_t i = 0; i < rows; ++i) group[i] = from[i * columns + n];
    std::copy_n(group, kGroup, to + position(n) * kGroup);
  }
}

template <size_t kGroup, class Element>
void QuantizedMatrices::Pack(const Element* from, size_t depth, size_t columns, Element* to) const {
  for (size_t group = 0; group < groups_; ++group, from += kGroup * columns) {
    const auto position = [&](size_t n) { return GroupPosition(group, n); };
    const size_t rows = std::min(kGroup, depth - group * kGroup);
    if (rows == kGroup) {
      Interleave<kGroup>(from, kGroup, columns, position, to);
    } else {
      Interleave<kGroup>(from, rows, columns, position, to);
    }
  }
}

QuantizedExperts::QuantizedExperts(const ExpertsShape& shape, const QuantizedExpertsWeights& weights,
                                   Quantization precision)
    : shape_(shape),
      precision_(precision),
      w1_(weights.w1, shape.experts, shape.in_width, shape.hidden_width, precision),
      w2_(weights.w2, shape.experts, shape.hidden_width, shape.out_width, precision),
      b1_(PaddedCopy(weights.b1, shape.experts, shape.hidden_width)),
      b2_(PaddedCopy(weights.b2, shape.experts, shape.out_width)) {}

size_t ExpertTokens(size_t tokens, const ThreadPool& pool) {
  const size_t share = (tokens + pool.threads() - 1) / pool.threads();
  return std::clamp<size_t>(share, 16, kTokenBlock);
}

void GatedExpertsForward(const QuantizedExperts& experts, const EncodedRows& x, size_t tokens,
                         const ExpertChoices& choices, float* y) {
  thread_local EncodedRows hidden;
  const ExpertsShape& shape = experts.shape();
  hidden.Resize(kMostRows, experts.w2().groups(), experts.precision());
  PaddedOutput output(y, tokens, shape.out_width);
  ExpertBlock block(experts, choices, x, hidden);
  const Grouping by_expert(choices.chosen, tokens * choices.per_token, shape.experts);
  for (const auto& [e, positions] : by_expert.groups()) {
    for (size_t first = 0; first < positions.size(); first += kMostRows) {
      const auto some = positions.subspan(first, std::min(kMostRows, positions.size() - first));
      block.Hidden(e, some);
      block.AddOutput(e, some, output);
    }
  }
  output.Finish();
}

void GatedExpertsForward(const QuantizedExperts& experts, const float* x, size_t tokens, const ExpertChoices& choices,
                         float* y, ThreadPool& pool) {
  const ExpertsShape& shape = experts.shape();
  pool.ParallelFor(tokens, ExpertTokens(tokens, pool), [&](size_t begin, size_t end) {
    thread_local EncodedRows rows;
    const size_t first = begin * choices.per_token;
    rows.Resize(end - begin, experts.w1().groups(), experts.precision());
    for (size_t t = begin; t < end; ++t) rows.Encode(t - begin, x + t * shape.in_width, shape.in_width);
    GatedExpertsForward(experts, rows, end - begin, {choices.chosen + first, choices.gates + first, choices.per_token},
                        y + begin * shape.out_width);
  });
}

}  // namespace grove
