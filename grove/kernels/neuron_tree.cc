// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/kernels/neuron_tree.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/neuron_tree-inl.h"

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(NeuronTreeForwardSimd);
HWY_EXPORT(NeuronTreeTokenGradients);
HWY_EXPORT(NeuronTreeNodeGradients);

// rows [nodes, row] -> target [width, nodes].
void TransposeToCheckpoint(const float* rows, size_t row, size_t nodes, size_t width, float* target) {
  for (size_t n = 0; n < nodes; ++n) {
    for (size_t i = 0; i < width; ++i) target[i * nodes + n] = rows[n * row + i];
  }
}
}  // namespace

void NeuronTreeForward(const PackedNeuronTree& weights, const float* x, size_t tokens, float* y,
                       const NeuronTreeTrace* trace, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(NeuronTreeForwardSimd)(weights, x, tokens, y, trace, pool);
}

void NeuronTreeForwardAlong(const PackedNeuronTree& weights, const float* x, size_t tokens, const uint32_t* ends,
                            float* y, ThreadPool& pool) {
  const NeuronTreeShape& shape = weights.shape();
  std::vector<uint32_t> nodes(tokens * shape.trees * shape.levels());
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
