// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/kernels/neuron_tree.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/neuron_tree-inl.h"
#include "grove/kernels/tree_rows_f32-inl.h"
#include "grove/kernels/tree_walk.h"

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(NeuronTreeFewTokens);
HWY_EXPORT(NeuronTreeOneByThreads);
HWY_EXPORT(NeuronTreeTokenGradients);
HWY_EXPORT(NeuronTreeNodeGradients);
HWY_EXPORT(TreeLogitsF32);
HWY_EXPORT(TreeLogitsOfThreeF32);
HWY_EXPORT(TreeTermsF32);
HWY_EXPORT(TreeOutputsF32);

class F32Arithmetic : public TreeArithmetic {
 public:
  explicit F32Arithmetic(const PackedNeurons& neurons) : neurons_(neurons) {}

  void Logits(size_t node, const void* const* x, const void* const* ahead, size_t count, float* logits) const override {
    HWY_DYNAMIC_DISPATCH(TreeLogitsF32)(neurons_, node, x, ahead, count, logits);
  }
  bool takes_three() const override { return true; }
  void LogitsOfThree(size_t node, size_t left, const void* const* x, const void* const* ahead, size_t count,
                     float* logits) const override {
    HWY_DYNAMIC_DISPATCH(TreeLogitsOfThreeF32)(neurons_, node, left, x, ahead, count, logits);
  }
  size_t TermBytes(size_t levels) const override {
    return sizeof(float) * (neurons_.shape().two_sided ? 2 * levels : levels);
  }
  void Terms(const uint32_t*, size_t levels, const float* logits, std::byte* terms) const override {
    HWY_DYNAMIC_DISPATCH(TreeTermsF32)(neurons_.shape(), logits, levels, reinterpret_cast<float*>(terms));
  }
  void Outputs(const uint32_t* nodes, size_t levels, const std::byte* const* terms, size_t count, Columns columns,
               Into into, float* const* y) const override {
    HWY_DYNAMIC_DISPATCH(TreeOutputsF32)
    (neurons_, nodes, levels, reinterpret_cast<const float* const*>(terms), count, columns, into, y);
  }
  void PrefetchIn(size_t node) const override { PrefetchIntoL2(neurons_.in(node), neurons_.row() * sizeof(float)); }
  void PrefetchOut(size_t node, Columns columns) const override {
    PrefetchIntoL2(neurons_.out(node) + columns.begin, (columns.end - columns.begin) * sizeof(float));
  }

 private:
  const PackedNeurons& neurons_;
};

// The part of a trace that belongs to the tokens from `begin` on.
const NeuronTreeTrace* TraceFrom(const NeuronTreeTrace* trace, const NeuronTreeShape& shape, size_t begin,
                                 NeuronTreeTrace& part) {
  if (!trace) return nullptr;
  const size_t offset = begin * shape.trees * shape.levels();
  part = {trace->nodes + offset, trace->logits + offset};
  return &part;
}

void WalkTokens(const PackedNeuronTree& weights, const float* x, size_t tokens, float* y, const NeuronTreeTrace* trace,
                ThreadPool& pool) {
  const NeuronTreeShape& shape = weights.shape();
  const size_t width = shape.width;
  const F32Arithmetic arithmetic(weights.neurons());
  const bool together = WalkTogether(shape, tokens, pool.threads());
  const auto walk = [&](size_t begin, size_t end) {
    const PaddedInput input(x + begin * width, end - begin, width);
    PaddedOutput output(y + begin * width, end - begin, width, PaddedOutput::Start::kAnything);
    NeuronTreeTrace part;
    TreeWalk of_these(shape, arithmetic,
                      {.x = reinterpret_cast<const std::byte*>(input.row(0)),
                       .x_stride = input.stride() * sizeof(float),
                       .y = output.row(0),
                       .y_stride = input.stride(),
                       .count = end - begin,
                       .past_caches = WalkPastCaches(shape, output.row(0), tokens)});
    const NeuronTreeTrace* traced = TraceFrom(trace, shape, begin, part);
    together ? of_these.RunTogether(traced, pool) : of_these.Run(traced);
    output.Finish();
  };
  if (together) return walk(0, tokens);
  pool.ParallelFor(tokens, WalkGrain(shape, tokens, pool.threads()), walk);
}

// rows [nodes, row] -> target [width, nodes].
void TransposeToCheckpoint(const float* rows, size_t row, size_t nodes, size_t width, float* target) {
  for (size_t n = 0; n < nodes; ++n) {
    for (size_t i = 0; i < width; ++i) target[i * nodes + n] = rows[n * row + i];
  }
}
}  // namespace

void NeuronTreeForward(const PackedNeuronTree& weights, const float* x, size_t tokens, float* y,
                       const NeuronTreeTrace* trace, ThreadPool& pool) {
  switch (ChooseWalkForm(weights.shape(), tokens, pool.threads())) {
    case WalkForm::kOneByThreads:
      return HWY_DYNAMIC_DISPATCH(NeuronTreeOneByThreads)(weights, x, tokens, y, trace, pool);
    case WalkForm::kFewTokens:
      return HWY_DYNAMIC_DISPATCH(NeuronTreeFewTokens)(weights, x, tokens, y, trace, pool);
    case WalkForm::kGrouped:
      return WalkTokens(weights, x, tokens, y, trace, pool);
  }
}

void NeuronTreeForwardAlong(const PackedNeuronTree& weights, const float* x, size_t tokens, const uint32_t* ends,
                            float* y, ThreadPool& pool) {
  const NeuronTreeShape& shape = weights.shape();
  ScratchVector<uint32_t> nodes(tokens * shape.trees * shape.levels());
  for (size_t p = 0; p < tokens * shape.trees; ++p) NeuronTreePath(shape, ends[p], nodes.data() + p * shape.levels());
  GatheredNeuronsForward(weights.neurons(), x, tokens, {nodes.data(), nullptr, shape.trees * shape.levels()}, y, pool);
}

void NeuronTreeBackward(const PackedNeuronTree& weights, const float* x, const NeuronTreeTrace& trace, const float* dy,
                        size_t tokens, const NeuronTreeGradients& gradients, ThreadPool& pool) {
  const NeuronTreeShape& shape = weights.shape();
  const size_t width = shape.width, nodes = shape.nodes(), row = weights.row();
  const size_t visits = tokens * shape.trees * shape.levels();
  AlignedArray<float> dlogits(visits);
  HWY_DYNAMIC_DISPATCH(NeuronTreeTokenGradients)(weights, trace, dy, tokens, gradients.dx, dlogits.data(), pool);

  AlignedArray<float> in(nodes * row), bias(nodes), out(nodes * row), out_left(shape.two_sided ? nodes * row : 0);
  const NeuronTreeGradients rows{nullptr, in.data(), bias.data(), out.data(), out_left.data()};
  const Grouping by_node(trace.nodes, visits, nodes);
  const PaddedInput px(x, tokens, width), pdy(dy, tokens, width);
  HWY_DYNAMIC_DISPATCH(NeuronTreeNodeGradients)(shape, by_node, trace, px, pdy, dlogits.data(), rows, pool);

  for (size_t n = 0; n < nodes; ++n) std::copy_n(in.data() + n * row, width, gradients.dw_in + n * width);
  if (gradients.db_in) std::copy_n(bias.data(), nodes, gradients.db_in);
  TransposeToCheckpoint(out.data(), row, nodes, width, gradients.dw_out);
  if (gradients.dw_out_left) TransposeToCheckpoint(out_left.data(), row, nodes, width, gradients.dw_out_left);
}

}  // namespace grove
#endif  // HWY_ONCE
