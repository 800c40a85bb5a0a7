// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Neuron trees in vectors, compiled once per target: descend, then accumulate. Tokens of a block descend in lockstep,
// level by level, so that the row of a token's next node is on its way from memory while the other tokens compute.

#include <algorithm>
#include <vector>

#include "grove/kernels/gathered_neurons-inl.h"
#include "grove/kernels/grouping.h"
#include "grove/kernels/neuron_tree.h"

#if defined(GROVE_KERNELS_NEURON_TREE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_NEURON_TREE_INL_H_
#undef GROVE_KERNELS_NEURON_TREE_INL_H_
#else
#define GROVE_KERNELS_NEURON_TREE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// What one block of tokens decided. Visit v = tree * levels + level; rows padded so that they can be activated in
// vectors.
struct BlockPaths {
  BlockPaths(const NeuronTreeShape& shape, size_t tokens)
      : visits(shape.trees * shape.levels()),
        stride(RoundUpToLine<float>(visits)),
        nodes(tokens * visits),
        logits(tokens * stride) {}
  size_t visits, stride;
  std::vector<uint32_t> nodes;  // [tokens, visits]
  AlignedArray<float> logits;   // [tokens, stride]
};

HWY_INLINE void Descend(const PackedNeuronTree& weights, const PaddedInput& x, size_t first, size_t tokens,
                        BlockPaths& paths) {
  const NeuronTreeShape& shape = weights.shape();
  const size_t per_tree = shape.nodes_per_tree(), row = weights.row();
  for (size_t level = 0; level < shape.levels(); ++level) {
    for (size_t tree = 0; tree < shape.trees; ++tree) {
      const size_t visit = tree * shape.levels() + level, root = tree * per_tree;
      for (size_t t = 0; t < tokens; ++t) {
        uint32_t* nodes = paths.nodes.data() + t * paths.visits + visit;
        if (level == 0) *nodes = static_cast<uint32_t>(root);
        const size_t node = *nodes;
        const float logit = Dot(weights.in(node), x.row(first + t), row) + weights.bias(node);
        paths.logits[t * paths.stride + visit] = logit;
        if (level == shape.depth) continue;
        const size_t next = root + 2 * (node - root) + (logit > 0.0f ? 2 : 1);
        nodes[1] = static_cast<uint32_t>(next);
        PrefetchRow(weights.in(next), row);
      }
    }
  }
}

HWY_INLINE void ForwardBlock(const PackedNeuronTree& weights, const PaddedInput& x, size_t first, size_t tokens,
                             PaddedOutput& y, const NeuronTreeTrace* trace) {
  const NeuronTreeShape& shape = weights.shape();
  BlockPaths paths(shape, tokens);
  Descend(weights, x, first, tokens, paths);
  NeuronOutputs outputs(weights.neurons(), paths.visits);
  for (size_t t = 0; t < tokens; ++t) {
    const uint32_t* nodes = paths.nodes.data() + t * paths.visits;
    const float* logits = paths.logits.data() + t * paths.stride;
    outputs.Sum(nodes, logits, nullptr, y.row(first + t));
    if (!trace) continue;
    std::copy_n(nodes, paths.visits, trace->nodes + (first + t) * paths.visits);
    std::copy_n(logits, paths.visits, trace->logits + (first + t) * paths.visits);
  }
}

inline void NeuronTreeForwardSimd(const PackedNeuronTree& weights, const float* x, size_t tokens, float* y,
                                  const NeuronTreeTrace* trace, ThreadPool& pool) {
  const size_t width = weights.shape().width;
  pool.ParallelFor(tokens, kNeuronTokenBlock, [&](size_t begin, size_t end) {
    const PaddedInput input(x + begin * width, end - begin, width);
    PaddedOutput output(y + begin * width, end - begin, width);
    NeuronTreeTrace part;
    if (trace) {
      const size_t offset = begin * weights.shape().trees * weights.shape().levels();
      part = {trace->nodes + offset, trace->logits + offset};
    }
    ForwardBlock(weights, input, 0, end - begin, output, trace ? &part : nullptr);
    output.Finish();
  });
}

// Backward, first half: per token, the gradient of each visited logit and of x. values [tokens, visits] of `dlogits`.
inline void NeuronTreeTokenGradients(const PackedNeuronTree& weights, const NeuronTreeTrace& trace, const float* dy,
                                     size_t tokens, float* dx, float* dlogits, ThreadPool& pool) {
  const NeuronTreeShape& shape = weights.shape();
  const size_t visits = shape.trees * shape.levels(), row = weights.row();
  pool.ParallelFor(tokens, kNeuronTokenBlock, [&](size_t begin, size_t end) {
    const PaddedInput gradient(dy + begin * shape.width, end - begin, shape.width);
    PaddedOutput output(dx + begin * shape.width, end - begin, shape.width);
    std::vector<const float*> rows(visits);
    for (size_t t = begin; t < end; ++t) {
      const float* dyt = gradient.row(t - begin);
      for (size_t v = 0; v < visits; ++v) {
        const size_t at = t * visits + v, node = trace.nodes[at];
        const double logit = trace.logits[at];
        double dlogit = Dot(weights.out(node), dyt, row) * ActivateDerivative(shape.activation, logit);
        if (shape.two_sided) {
          dlogit -= Dot(weights.out_left(node), dyt, row) * ActivateDerivative(shape.activation, -logit);
        }
        dlogits[at] = static_cast<float>(dlogit);
        rows[v] = weights.in(node);
      }
      SumRows(rows.data(), dlogits + t * visits, visits, row, output.row(t - begin));
    }
    output.Finish();
  });
}

// Backward, second half: per node, over its visits in order of tokens. `rows` has zeroed node-major weight gradients
// [nodes, row] and db_in; dx is not touched.
inline void NeuronTreeNodeGradients(const NeuronTreeShape& shape, const Grouping& by_node, const NeuronTreeTrace& trace,
                                    const PaddedInput& x, const PaddedInput& dy, const float* dlogits,
                                    const NeuronTreeGradients& rows, ThreadPool& pool) {
  const size_t row = x.stride(), visits = shape.trees * shape.levels();
  pool.ParallelFor(by_node.groups().size(), 1, [&](size_t begin, size_t end) {
    for (size_t g = begin; g < end; ++g) {
      const auto& [node, positions] = by_node.groups()[g];
      double bias = 0;
      for (const size_t at : positions) {
        const size_t t = at / visits;
        bias += dlogits[at];
        AddScaled(dlogits[at], x.row(t), rows.dw_in + node * row, row);
        const double logit = trace.logits[at];
        AddScaled(static_cast<float>(Activate(shape.activation, logit)), dy.row(t), rows.dw_out + node * row, row);
        if (!shape.two_sided) continue;
        AddScaled(static_cast<float>(Activate(shape.activation, -logit)), dy.row(t), rows.dw_out_left + node * row,
                  row);
      }
      rows.db_in[node] = static_cast<float>(bias);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_NEURON_TREE_INL_H_
