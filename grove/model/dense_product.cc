// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/dense_product.h"

#include <algorithm>
#include <span>

#include "grove/base/aligned.h"
#include "grove/base/check.h"
#include "grove/kernels/target.h"
#include "grove/model/dense_panels.h"
#include "grove/model/row_ops.h"
#include "grove/quant/amx_block.h"
#include "grove/quant/round_weights.h"

namespace grove {
namespace {

// Rows of a task: read from the second-level cache once for every panel.
static_assert(DenseProduct::kColumnsTogether == kPanelColumns);
constexpr size_t kMaxRowBlock = 144, kMaxWidenedRowBlock = 288;  // of which shorter parts are read at once

// Blocks of like size, whole tiles but for the last: every block reads all weights.
size_t RowBlock(size_t rows, size_t row_bytes, bool amx, bool widened) {
  const size_t most = amx ? AmxRowBlock(row_bytes) : widened ? kMaxWidenedRowBlock : kMaxRowBlock;
  const size_t tile = amx ? kAmxRows : kMaxTileRows;
  const size_t blocks = (rows + most - 1) / most;
  return RoundUpTo(tile, (rows + blocks - 1) / blocks);
}

size_t Panels(size_t out) { return (out + kPanelColumns - 1) / kPanelColumns; }

// [columns / width, in, width], zeros beyond the last column.
AlignedArray<float> PackPanels(const float* weights, size_t in, size_t out, size_t width) {
  AlignedArray<float> packed(Panels(out) * in * kPanelColumns);
  for (size_t first = 0; first < out; first += width) {
    float* to = packed.data() + first * in;
    const size_t columns = std::min(width, out - first);
    for (size_t i = 0; i < in; ++i) {
      for (size_t c = 0; c < columns; ++c) to[i * width + c] = weights[(first + c) * in + i];
    }
  }
  return packed;
}

void RoundRowToTwelveBits(const float* x, size_t count, float* to) {
  for (size_t i = 0; i < count; ++i) to[i] = RoundToTwelveBits(x[i]);
}

// Memory of this thread that survives from call to call.
std::byte* ThreadBytes(size_t size) {
  thread_local AlignedArray<std::byte> bytes;
  return AtLeast(bytes, size);  // NOLINT(clang-analyzer-cplusplus.NewDelete): misreads the move of unique_ptr
}

// bf16 always if the target has them, as their sums differ from those of AVX512-BF16 in the last digits. Integers do
// not: few rows, which leave most of a tile empty, are left to AVX512-VNNI.
bool UsesAmx(Precision precision, const Int8Panels& int8, size_t rows) {
  constexpr size_t kFewRows = 3;
  if (precision == Precision::kFp32 || !ActiveTargetHasTiles()) return false;
  return precision == Precision::kBf16 || (int8.plain && rows > kFewRows);
}

// bf16 as it is, by AMX or AVX512-BF16; elsewhere weights become floats as they are loaded, and rows before.
bool MultipliesBf16Pairs() { return ActiveTargetHasTiles() || ActiveTargetMultipliesBf16(); }

void RunTask(Precision precision, bool amx, const DensePanels& task) {
  if (amx) return RunAmxPanels(precision == Precision::kBf16 ? Quantization::kBf16 : Quantization::kInt8, task);
  switch (precision) {
    case Precision::kBf16:
      return MultipliesBf16Pairs() ? RunBf16Panels(task) : RunWidenedPanels(task);
    case Precision::kFp32:
      return RunFloatPanels(task);
    case Precision::kInt8:
      return RunInt8Panels(task);
  }
}

}  // namespace

struct DenseProduct::Packed {
  AlignedArray<float> fp32;  // one of the three
  AlignedArray<Bf16> bf16;
  Int8Panels int8;
  size_t panel_bytes = 0;                // of 32 columns
  size_t panel_columns = kPanelColumns;  // of fp32: 16 or 32

  Packed(const DenseShape& shape, const WeightsView& weights) {
    const size_t in = shape.in, out = shape.out;
    switch (shape.precision) {
      case Precision::kBf16:
        bf16 = PackBf16Panels(weights.bf16, in, out);
        panel_bytes = RoundUpTo(2, in) * kPanelColumns * sizeof(Bf16);
        break;
      case Precision::kFp32:
        panel_columns = FloatPanelColumns();
        fp32 = PackPanels(weights.fp32, in, out, panel_columns);
        if (shape.exact) RoundRowToTwelveBits(fp32.data(), fp32.size(), fp32.data());
        panel_bytes = in * kPanelColumns * sizeof(float);
        break;
      case Precision::kInt8:
        int8 = PackInt8Panels(weights.int8, weights.scales, in, out);
        panel_bytes = int8.panel_bytes;
        break;
    }
  }

  const std::byte* weights(Precision precision) const {
    if (precision == Precision::kFp32) return reinterpret_cast<const std::byte*>(fp32.data());
    if (precision == Precision::kBf16) return reinterpret_cast<const std::byte*>(bf16.data());
    return reinterpret_cast<const std::byte*>(int8.weights.data());
  }
};

struct DenseProduct::State {
  DenseShape shape;
  std::shared_ptr<const Packed> packed;
  AlignedArray<float> bias;  // [panels, 32], zeros without a bias

  State(const DenseShape& s, std::shared_ptr<const Packed> weights, const float* of_outputs)
      : shape(s), packed(std::move(weights)), bias(Panels(s.out) * kPanelColumns) {
    if (of_outputs != nullptr) std::copy_n(of_outputs, shape.out, bias.data());
  }
};

// Of the first column that is computed.
struct DenseProduct::Output {
  float* y;
  Bf16* narrow;  // written in place of y if not null
  size_t stride;
};

DenseProduct::DenseProduct(const DenseShape& shape, const WeightsView& given, const float* bias, const ThreadPool&) {
  Weights memory;
  const WeightsView weights = RoundedView(given, {.groups = shape.out, .depth = shape.in}, shape.precision, memory);
  state_ = std::make_unique<State>(shape, std::make_shared<const Packed>(shape, weights), bias);
}

DenseProduct::DenseProduct(const DenseProduct& weights, const float* bias)
    : state_(std::make_unique<State>(weights.state_->shape, weights.state_->packed, bias)) {}

DenseProduct::DenseProduct(DenseProduct&&) noexcept = default;
DenseProduct& DenseProduct::operator=(DenseProduct&&) noexcept = default;
DenseProduct::~DenseProduct() = default;

const DenseShape& DenseProduct::shape() const { return state_->shape; }

size_t DenseProduct::bytes() const {
  return Panels(state_->shape.out) * (state_->packed->panel_bytes + kPanelColumns * sizeof(float)) +
         state_->packed->int8.scales.size() * 2 * sizeof(float);
}

void DenseProduct::CopyWeights(size_t out, float* to) const {
  const Packed& packed = *state_->packed;
  const size_t in = state_->shape.in;
  // Of panels [in / group, columns, group].
  const auto copy = [&](const auto* weights, size_t columns, size_t group, const auto& value) {
    const auto* panel = weights + out / columns * columns * RoundUpTo(group, in) + out % columns * group;
    for (size_t i = 0; i < in; ++i) to[i] = value(panel[i / group * columns * group + i % group]);
  };
  switch (state_->shape.precision) {
    case Precision::kBf16:
      return copy(packed.bf16.data(), kPanelColumns, 2, [](Bf16 weight) { return ToFloat(weight); });
    case Precision::kFp32:
      return copy(packed.fp32.data(), packed.panel_columns, 1, [](float weight) { return weight; });
    case Precision::kInt8: {
      const std::span<int8_t> column(reinterpret_cast<int8_t*>(ThreadBytes(in)), in);
      CopyInt8Column(packed.int8, in, out, column.data());
      for (size_t i = 0; i < in; ++i) to[i] = static_cast<float>(column[i]) * packed.int8.scales[out];
      return;
    }
  }
}

DenseProduct::Inputs DenseProduct::Prepare(const float* x, size_t x_stride, size_t rows, ThreadPool& pool) const {
  constexpr size_t kGrain = 16;
  const DenseShape& shape = state_->shape;
  const Precision precision = shape.precision;
  const size_t in = shape.in;
  if (precision == Precision::kFp32 && !shape.exact) return {x, x_stride, sizeof(float), nullptr, rows};
  if (precision == Precision::kFp32) {
    auto* to = reinterpret_cast<float*>(ThreadBytes(rows * in * sizeof(float)));
    for (size_t r = 0; r < rows; ++r) RoundRowToTwelveBits(x + r * x_stride, in, to + r * in);
    return {to, in, sizeof(float), nullptr, rows};
  }
  if (precision == Precision::kBf16 && !MultipliesBf16Pairs()) {
    const size_t stride = WidenedRowStride(in);
    auto* to = reinterpret_cast<float*>(ThreadBytes(rows * stride * sizeof(float)));
    pool.ParallelFor(rows, kGrain, [&](size_t begin, size_t end) {
      ToWidenedRows(x + begin * x_stride, x_stride, end - begin, in, to + begin * stride);
    });
    return {to, stride, sizeof(float), nullptr, rows};
  }
  if (precision == Precision::kBf16) {
    const size_t stride = Bf16RowStride(in);
    auto* to = reinterpret_cast<Bf16*>(ThreadBytes(rows * stride * sizeof(Bf16)));
    pool.ParallelFor(rows, kGrain, [&](size_t begin, size_t end) {
      ToBf16Rows(x + begin * x_stride, x_stride, end - begin, in, to + begin * stride);
    });
    return {to, stride, sizeof(Bf16), nullptr, rows};
  }
  const size_t stride = Int8RowStride(in);
  std::byte* bytes = ThreadBytes(rows * (stride + sizeof(float)));
  auto* to = reinterpret_cast<uint8_t*>(bytes);
  auto* scales = reinterpret_cast<float*>(bytes + rows * stride);
  pool.ParallelFor(rows, kGrain, [&](size_t begin, size_t end) {
    ToInt8Rows(x + begin * x_stride, x_stride, end - begin, in, to + begin * stride, scales + begin);
  });
  return {to, stride, 1, scales, rows};
}

void DenseProduct::Forward(const float* x, size_t rows, float* y, ThreadPool& pool) const {
  Forward(x, state_->shape.in, rows, y, state_->shape.out, pool);
}

void DenseProduct::Forward(const float* x, size_t x_stride, size_t rows, float* y, size_t y_stride,
                           ThreadPool& pool) const {
  Run(Prepare(x, x_stride, rows, pool), {0, state_->shape.out}, {y, nullptr, y_stride}, pool);
}

void DenseProduct::ForwardColumns(const Inputs& inputs, Columns columns, float* y, size_t y_stride,
                                  ThreadPool& pool) const {
  Run(inputs, columns, {y, nullptr, y_stride}, pool);
}

bool DenseProduct::TakesNarrowRows() const {
  return state_->shape.precision == Precision::kBf16 && MultipliesBf16Pairs();
}

size_t DenseProduct::NarrowStride(size_t width) { return Bf16RowStride(width); }

void DenseProduct::ForwardToNarrow(const float* x, size_t x_stride, size_t rows, Bf16* y, size_t y_stride,
                                   ThreadPool& pool) const {
  GROVE_DCHECK(TakesNarrowRows());
  Run(Prepare(x, x_stride, rows, pool), {0, state_->shape.out}, {nullptr, y, y_stride}, pool);
}

void DenseProduct::ForwardColumnsToNarrow(const Inputs& inputs, Columns columns, Bf16* y, size_t y_stride,
                                          ThreadPool& pool) const {
  GROVE_DCHECK(TakesNarrowRows());
  Run(inputs, columns, {nullptr, y, y_stride}, pool);
}

void DenseProduct::ForwardFromNarrow(const Bf16* x, size_t x_stride, size_t rows, float* y, size_t y_stride,
                                     ThreadPool& pool) const {
  GROVE_DCHECK(TakesNarrowRows() && state_->shape.in % 2 == 0);
  Run({x, x_stride, sizeof(Bf16), nullptr, rows}, {0, state_->shape.out}, {y, nullptr, y_stride}, pool);
}

void DenseProduct::Run(const Inputs& inputs, Columns columns, const Output& output, ThreadPool& pool) const {
  const State& state = *state_;
  const DenseShape& shape = state.shape;
  const Packed& packed = *state.packed;
  GROVE_DCHECK(columns.begin % kPanelColumns == 0 && columns.begin + columns.count <= shape.out);
  const size_t panels = Panels(columns.count), rows = inputs.rows;
  if (panels == 0 || rows == 0) return;
  const bool amx = UsesAmx(shape.precision, packed.int8, rows);
  const bool widened = shape.precision == Precision::kBf16 && !MultipliesBf16Pairs();
  const size_t row_bytes = inputs.row_bytes();
  const size_t row_block = RowBlock(rows, row_bytes, amx, widened), blocks = (rows + row_block - 1) / row_block;
  const bool int8 = shape.precision == Precision::kInt8;
  // Enough tasks for all threads to end at about the same time, though a core may be slowed down by others' work, few
  // enough for a block of rows to serve many panels.
  const size_t wanted = pool.threads() == 1 ? 1 : 16 * pool.threads();
  const size_t per_group = std::max<size_t>(1, panels * blocks / std::max(wanted, blocks));
  const size_t groups = (panels + per_group - 1) / per_group;
  pool.ParallelFor(blocks * groups, 1, [&](size_t begin, size_t end) {
    for (size_t task = begin; task < end; ++task) {
      const size_t row = task / groups * row_block, panel = task % groups * per_group;
      const size_t to = panel * kPanelColumns, column = columns.begin + to;
      DensePanels part{.x = static_cast<const std::byte*>(inputs.data) + row * row_bytes,
                       .weights = packed.weights(shape.precision) + column / kPanelColumns * packed.panel_bytes,
                       .bias = state.bias.data() + column,
                       .y = output.y + (output.narrow == nullptr ? row * output.stride + to : 0),
                       .x_stride = inputs.stride,
                       .y_stride = output.stride,
                       .rows = std::min(row_block, rows - row),
                       .in = shape.in,
                       .columns = std::min(per_group * kPanelColumns, columns.count - to),
                       .activation = shape.activation,
                       .panel_bytes = packed.panel_bytes,
                       .panel_columns = packed.panel_columns};
      // One thread's columns are followed by the next ones, if not here then in the next call.
      part.ahead_columns = groups == 1 && row + part.rows == rows ? shape.out - column : part.columns;
      if (output.narrow != nullptr) part.narrow = output.narrow + row * output.stride + to;
      if (int8) {
        part.row_scales = inputs.scales + row;
        part.column_scales = packed.int8.scales.data() + column;
        part.excess = packed.int8.excess.data() + column;
        part.int8_tiles = packed.int8.tiles;
      }
      RunTask(shape.precision, amx, part);
    }
  });
}

}  // namespace grove
