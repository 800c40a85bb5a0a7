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

constexpr size_t kTokenBlock = 2048;  // as gated_experts-inl.h
constexpr size_t kMostRows = 512;     // of an expert at once: its sums then stay in the second-level cache

// Rows of activations as the products take them.
class EncodedRows {
 public:
  void Resize(size_t rows, size_t groups, Quantization precision) {
    precision_ = precision;
    stride_ = RoundUpToLine<std::byte>(4 * groups);
    if (values_.size() < rows * stride_) values_ = AlignedArray<std::byte>(rows * stride_);
    scales_.resize(std::max(scales_.size(), rows));
  }
  const std::byte* row(size_t r) const { return values_.data() + r * stride_; }
  float scale(size_t r) const { return scales_[r]; }

  void Encode(size_t r, const float* x, size_t count) {
    std::byte* row = values_.data() + r * stride_;
    if (precision_ == Quantization::kBf16) {
      RoundRow(x, count, reinterpret_cast<uint16_t*>(row));
      std::fill(row + 2 * count, row + stride_, std::byte{0});
      return;
    }
    scales_[r] = QuantizeRow(x, count, reinterpret_cast<int8_t*>(row));
    if (RowKernelsFor().int8_shift != 0) {
      for (size_t i = 0; i < count; ++i) row[i] ^= std::byte{0x80};
    }
    std::fill(row + count, row + stride_, std::byte{0});
  }

 private:
  Quantization precision_ = Quantization::kBf16;
  size_t stride_ = 0;
  AlignedArray<std::byte> values_;
  std::vector<float> scales_;
};

// Kept by each thread from call to call.
struct Scratch {
  EncodedRows x, hidden;
  std::vector<float> sums;  // of one product, floats or integers
  std::vector<float> row;
  std::vector<const std::byte*> rows, hidden_rows;

  float* Sums(size_t count) {
    sums.resize(std::max(sums.size(), count));
    return sums.data();
  }
};

class ExpertRun {
 public:
  ExpertRun(const QuantizedExperts& experts, Scratch& scratch)
      : experts_(experts), scratch_(scratch), kernels_(RowKernelsFor()) {}

  // The tokens of `positions` through expert e.
  void Run(size_t e, std::span<const size_t> positions, const ExpertChoices& choices, PaddedOutput& y) {
    const size_t rows = positions.size(), hidden = experts_.w1().columns(), out = experts_.w2().columns();
    scratch_.rows.clear();
    for (const size_t at : positions) scratch_.rows.push_back(scratch_.x.row(at / choices.per_token));
    Hidden(e, positions, choices.per_token, hidden);
    scratch_.hidden_rows.clear();
    for (size_t r = 0; r < rows; ++r) scratch_.hidden_rows.push_back(scratch_.hidden.row(r));
    float* sums = scratch_.Sums(rows * out);
    Product(experts_.w2(), e, scratch_.hidden_rows, sums);
    for (size_t r = 0; r < rows; ++r) {
      const float gate = choices.gates[positions[r]];
      float* target = y.row(positions[r] / choices.per_token);
      float* values = sums + r * out;
      if (experts_.precision() == Quantization::kInt8) {
        scratch_.row.resize(std::max(scratch_.row.size(), out));
        ScaleSums(reinterpret_cast<const int32_t*>(values),
                  Scales(experts_.w2(), e, scratch_.hidden.scale(r), experts_.b2(e)), out, scratch_.row.data());
        AddScaledRow(gate, scratch_.row.data(), out, target);
      } else {
        AddRow(experts_.b2(e), out, values);
        AddScaledRow(gate, values, out, target);
      }
    }
  }

 private:
  SumScales Scales(const QuantizedMatrices& matrices, size_t e, float row, const float* bias) const {
    return {kernels_.int8_shift, row, matrices.sums(e), matrices.scales(e), bias};
  }

  void Product(const QuantizedMatrices& matrices, size_t e, const std::vector<const std::byte*>& rows, float* sums) {
    if (experts_.precision() == Quantization::kInt8) {
      kernels_.int8_block(reinterpret_cast<const uint8_t* const*>(rows.data()), rows.size(), matrices.groups(),
                          reinterpret_cast<const int8_t*>(matrices.matrix(e)), matrices.columns(),
                          reinterpret_cast<int32_t*>(sums));
    } else {
      kernels_.bf16_block(reinterpret_cast<const uint16_t* const*>(rows.data()), rows.size(), matrices.groups(),
                          reinterpret_cast<const uint16_t*>(matrices.matrix(e)), matrices.columns(), sums);
    }
  }

  void Hidden(size_t e, std::span<const size_t> positions, size_t per_token, size_t columns) {
    const ExpertsShape& shape = experts_.shape();
    const size_t rows = positions.size();
    float* sums = scratch_.Sums(rows * columns);
    Product(experts_.w1(), e, scratch_.rows, sums);
    scratch_.hidden.Resize(rows, experts_.w2().groups(), experts_.precision());
    for (size_t r = 0; r < rows; ++r) {
      float* values = sums + r * columns;
      if (experts_.precision() == Quantization::kInt8) {
        const float scale = scratch_.x.scale(positions[r] / per_token);
        ScaleSums(reinterpret_cast<const int32_t*>(values), Scales(experts_.w1(), e, scale, experts_.b1(e)), columns,
                  values);
      } else {
        AddRow(experts_.b1(e), columns, values);
      }
      ExactActivate(shape.activation, 1.0f, values, columns, values);
      scratch_.hidden.Encode(r, values, shape.hidden_width);
    }
  }

  const QuantizedExperts& experts_;
  Scratch& scratch_;
  const RowKernels& kernels_;
};

void RunBlock(const QuantizedExperts& experts, const float* x, size_t tokens, const ExpertChoices& choices, float* y) {
  static thread_local Scratch scratch;
  const ExpertsShape& shape = experts.shape();
  scratch.x.Resize(tokens, experts.w1().groups(), experts.precision());
  for (size_t t = 0; t < tokens; ++t) scratch.x.Encode(t, x + t * shape.in_width, shape.in_width);
  PaddedOutput output(y, tokens, shape.out_width);
  ExpertRun run(experts, scratch);
  const Grouping by_expert(choices.chosen, tokens * choices.per_token, shape.experts);
  for (const auto& [e, positions] : by_expert.groups()) {
    for (size_t first = 0; first < positions.size(); first += kMostRows) {
      run.Run(e, positions.subspan(first, std::min(kMostRows, positions.size() - first)), choices, output);
    }
  }
  output.Finish();
}

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
      PackBf16(rounded.bf16 + from, depth, columns, reinterpret_cast<uint16_t*>(to));
      continue;
    }
    std::copy_n(rounded.scales + e * columns, columns, scales_.data() + e * columns_);
    PackInt8(rounded.int8 + from, depth, columns, reinterpret_cast<int8_t*>(to), sums_.data() + e * columns_);
  }
}

void QuantizedMatrices::PackBf16(const Bf16* from, size_t depth, size_t columns, uint16_t* to) const {
  for (size_t k = 0; k < depth; ++k, from += columns) {
    for (size_t n = 0; n < columns; ++n) to[(k / 2 * columns_ + n) * 2 + k % 2] = from[n].bits;
  }
}

void QuantizedMatrices::PackInt8(const int8_t* from, size_t depth, size_t columns, int8_t* to, int32_t* sums) const {
  for (size_t k = 0; k < depth; ++k, from += columns) {
    for (size_t n = 0; n < columns; ++n) {
      to[(k / 4 * columns_ + n) * 4 + k % 4] = from[n];
      sums[n] += from[n];
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

void GatedExpertsForward(const QuantizedExperts& experts, const float* x, size_t tokens, const ExpertChoices& choices,
                         float* y, ThreadPool& pool) {
  const ExpertsShape& shape = experts.shape();
  const size_t share = (tokens + pool.threads() - 1) / pool.threads();
  pool.ParallelFor(tokens, std::clamp<size_t>(share, 16, kTokenBlock), [&](size_t begin, size_t end) {
    const size_t first = begin * choices.per_token;
    RunBlock(experts, x + begin * shape.in_width, end - begin,
             {choices.chosen + first, choices.gates + first, choices.per_token}, y + begin * shape.out_width);
  });
}

}  // namespace grove
