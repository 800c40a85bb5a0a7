// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/dense_product.h"

#include <algorithm>

#include "grove/base/aligned.h"
#include "grove/base/check.h"
#include "grove/model/dense_panels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/model/dense_product.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/model/product_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The sum is cut here, so that the rows and panels of a block stay in the second-level cache.
constexpr size_t kDepth = 1024;

// One cut of the sum.
struct Cut {
  size_t begin, depth;
  bool first, last;
};

HWY_INLINE FloatVec ActivateDense(DenseActivation activation, FloatVec x) {
  if (activation == DenseActivation::kGelu) return ActivateVec(Activation::kGelu, x);
  return activation == DenseActivation::kRelu ? ActivateVec(Activation::kRelu, x) : x;
}

template <size_t kRows>
HWY_NOINLINE void RunTile(const DensePanels& task, const Cut& cut, const float* x, const float* weights,
                          const float* bias, float* y, size_t y_stride) {
  const FloatTag d;
  FloatVec sums[kRows][kTileVectors];
  cut.first ? ZeroTile(sums) : LoadTile(y, y_stride, sums);
  AddTile(x, task.x_stride, weights, kPanelColumns, cut.depth, sums);
  if (cut.last) {
    for (size_t v = 0; v < kTileVectors; ++v) {
      const FloatVec b = hn::LoadU(d, bias + v * hn::Lanes(d));
      for (size_t r = 0; r < kRows; ++r) sums[r][v] = ActivateDense(task.activation, hn::Add(sums[r][v], b));
    }
  }
  StoreTile(sums, y, y_stride);
}

// All rows of one tile's columns. Columns beyond the last one are computed aside.
HWY_INLINE void RunColumns(const DensePanels& task, const Cut& cut, size_t column) {
  const float* weights = static_cast<const float*>(task.weights) +
                         (column / kPanelColumns * task.in + cut.begin) * kPanelColumns + column % kPanelColumns;
  const size_t columns = std::min(TileColumns(), task.columns - column);
  HWY_ALIGN float edge[kTileRows * kPanelColumns] = {};
  for (size_t row = 0; row < task.rows; row += kTileRows) {
    const size_t rows = std::min(kTileRows, task.rows - row);
    const float* x = task.x + row * task.x_stride + cut.begin;
    float* y = task.y + row * task.y_stride + column;
    const bool whole = columns == TileColumns();
    for (size_t r = 0; !whole && !cut.first && r < rows; ++r) {
      std::copy_n(y + r * task.y_stride, columns, edge + r * kPanelColumns);
    }
    float* to = whole ? y : edge;
    const size_t stride = whole ? task.y_stride : kPanelColumns;
    WithTileRows(rows, [&](auto kRows) HWY_ATTR {
      RunTile<decltype(kRows)::value>(task, cut, x, weights, task.bias + column, to, stride);
    });
    for (size_t r = 0; !whole && r < rows; ++r) std::copy_n(edge + r * kPanelColumns, columns, y + r * task.y_stride);
  }
}

void RunPanels(const DensePanels& task) {
  for (size_t begin = 0; begin < std::max(task.in, size_t{1}); begin += kDepth) {
    const Cut cut{begin, std::min(kDepth, task.in - begin), begin == 0, begin + kDepth >= task.in};
    for (size_t column = 0; column < task.columns; column += TileColumns()) RunColumns(task, cut, column);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace grove {
namespace {

HWY_EXPORT(RunPanels);

// Rows of a task: read from the second-level cache once for every panel.
constexpr size_t kRowBlock = 96;

size_t Panels(size_t out) { return (out + kPanelColumns - 1) / kPanelColumns; }

}  // namespace

struct DenseProduct::State {
  DenseShape shape;
  AlignedArray<float> fp32;  // [panels, in, 32], zeros beyond the last column
  AlignedArray<Bf16> bf16;   // [panels, in / 2 rounded up, 32, 2]
  AlignedArray<float> bias;  // [panels, 32], zeros without a bias
  size_t panel_bytes = 0;    // of one panel
};

bool Supports(Precision precision) { return precision == Precision::kFp32 || HasBf16Panels(); }

DenseProduct::DenseProduct(const DenseShape& shape, const float* weights, const float* bias, const ThreadPool&)
    : state_(std::make_unique<State>()) {
  GROVE_CHECK(Supports(shape.precision));
  state_->shape = shape;
  const size_t panels = Panels(shape.out), in = shape.in;
  state_->bias = AlignedArray<float>(panels * kPanelColumns);
  if (bias != nullptr) std::copy_n(bias, shape.out, state_->bias.data());
  if (shape.precision == Precision::kBf16) {
    state_->bf16 = PackBf16Panels(weights, in, shape.out);
    state_->panel_bytes = RoundUpToEven(in) * kPanelColumns * sizeof(Bf16);
    return;
  }
  state_->panel_bytes = in * kPanelColumns * sizeof(float);
  state_->fp32 = AlignedArray<float>(panels * in * kPanelColumns);
  for (size_t panel = 0; panel < panels; ++panel) {
    float* to = state_->fp32.data() + panel * in * kPanelColumns;
    const size_t first = panel * kPanelColumns, columns = std::min(kPanelColumns, shape.out - first);
    for (size_t i = 0; i < in; ++i) {
      for (size_t c = 0; c < columns; ++c) to[i * kPanelColumns + c] = weights[(first + c) * in + i];
    }
  }
}

DenseProduct::DenseProduct(DenseProduct&&) noexcept = default;
DenseProduct& DenseProduct::operator=(DenseProduct&&) noexcept = default;
DenseProduct::~DenseProduct() = default;

const DenseShape& DenseProduct::shape() const { return state_->shape; }

size_t DenseProduct::bytes() const {
  return Panels(state_->shape.out) * (state_->panel_bytes + kPanelColumns * sizeof(float));
}

void DenseProduct::Forward(const float* x, size_t rows, float* y, ThreadPool& pool) const {
  Forward(x, state_->shape.in, rows, y, state_->shape.out, pool);
}

void DenseProduct::Forward(const float* x, size_t x_stride, size_t rows, float* y, size_t y_stride,
                           ThreadPool& pool) const {
  const State& state = *state_;
  const DenseShape& shape = state.shape;
  const bool bf16 = shape.precision == Precision::kBf16;
  const char* weights =
      bf16 ? reinterpret_cast<const char*>(state.bf16.data()) : reinterpret_cast<const char*>(state.fp32.data());
  const size_t panels = Panels(shape.out), blocks = (rows + kRowBlock - 1) / kRowBlock;
  if (panels == 0 || blocks == 0) return;
  // Enough tasks for all threads to end at about the same time, few enough for a block of rows to serve many panels.
  const size_t wanted = pool.threads() == 1 ? 1 : 6 * pool.threads();
  const size_t per_group = std::max<size_t>(1, panels * blocks / std::max(wanted, blocks));
  const size_t groups = (panels + per_group - 1) / per_group;
  pool.ParallelFor(blocks * groups, 1, [&](size_t begin, size_t end) {
    for (size_t task = begin; task < end; ++task) {
      const size_t row = task / groups * kRowBlock, panel = task % groups * per_group, column = panel * kPanelColumns;
      const DensePanels part{.x = x + row * x_stride,
                             .weights = weights + panel * state.panel_bytes,
                             .bias = state.bias.data() + column,
                             .y = y + row * y_stride + column,
                             .x_stride = x_stride,
                             .y_stride = y_stride,
                             .rows = std::min(kRowBlock, rows - row),
                             .in = shape.in,
                             .columns = std::min(per_group * kPanelColumns, shape.out - column),
                             .activation = shape.activation};
      bf16 ? RunBf16Panels(part) : HWY_DYNAMIC_DISPATCH(RunPanels)(part);
    }
  });
}

}  // namespace grove
#endif  // HWY_ONCE
