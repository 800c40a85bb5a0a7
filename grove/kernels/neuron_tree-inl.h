// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Neuron trees in vectors, compiled once per target: few tokens forward (many: tree_walk.h), and backward. Tokens of a
// block descend in lockstep, level by level, so that the row of a token's next node is on its way from memory while the
// other tokens compute.

#include <algorithm>

#include "grove/base/scratch.h"
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
  ScratchVector<uint32_t> nodes;  // [tokens, visits]
  ScratchVector<float> logits;    // [tokens, stride]
};

// The first lines of both children: a row whose beginning is near hides the way of the rest.
HWY_INLINE void PrefetchChildren(const PackedNeuronTree& weights, size_t left) {
  constexpr size_t kBytes = 4 * kCacheLineBytes;
  PrefetchRow(weights.in(left), kBytes / sizeof(float));
  PrefetchRow(weights.in(left + 1), kBytes / sizeof(float));
}

// Trees first_tree ... last_tree - 1.
HWY_INLINE void Descend(const PackedNeuronTree& weights, const PaddedInput& x, size_t tokens, size_t first_tree,
                        size_t last_tree, BlockPaths& paths) {
  const NeuronTreeShape& shape = weights.shape();
  const size_t per_tree = shape.nodes_per_tree(), row = weights.row();
  const bool alone = tokens * (last_tree - first_tree) == 1;  // nothing else to compute while a row is on its way
  for (size_t level = 0; level < shape.levels(); ++level) {
    for (size_t tree = first_tree; tree < last_tree; ++tree) {
      const size_t visit = tree * shape.levels() + level, root = tree * per_tree;
      for (size_t t = 0; t < tokens; ++t) {
        uint32_t* nodes = paths.nodes.data() + t * paths.visits + visit;
        if (level == 0) *nodes = static_cast<uint32_t>(root);
        const size_t node = *nodes, left = root + 2 * (node - root) + 1;
        if (alone && level < shape.depth) PrefetchChildren(weights, left);
        const float logit = Dot(weights.in(node), x.row(t), row) + weights.bias(node);
        paths.logits[t * paths.stride + visit] = logit;
        if (level < shape.depth) {
          nodes[1] = static_cast<uint32_t>(logit > 0.0f ? left + 1 : left);
          PrefetchRow(weights.in(nodes[1]), row);
        }
        PrefetchRow(weights.out(node), shape.two_sided ? 2 * row : row);
      }
    }
  }
}

HWY_INLINE void CopyTrace(const BlockPaths& paths, size_t token, const NeuronTreeTrace& trace, size_t traced_token) {
  std::copy_n(paths.nodes.data() + token * paths.visits, paths.visits, trace.nodes + traced_token * paths.visits);
  std::copy_n(paths.logits.data() + token * paths.stride, paths.visits, trace.logits + traced_token * paths.visits);
}

// WalkForm::kFewTokens.
inline void NeuronTreeFewTokens(const PackedNeuronTree& weights, const float* x, size_t tokens, float* y,
                                const NeuronTreeTrace* trace, ThreadPool& pool) {
  const size_t width = weights.shape().width;
  pool.ParallelFor(tokens, kNeuronTokenBlock, [&](size_t begin, size_t end) {
    const PaddedInput input(x + begin * width, end - begin, width);
    PaddedOutput output(y + begin * width, end - begin, width, PaddedOutput::Start::kAnything);
    BlockPaths paths(weights.shape(), end - begin);
    Descend(weights, input, end - begin, 0, weights.shape().trees, paths);
    NeuronOutputs outputs(weights.neurons(), paths.visits);
    for (size_t t = 0; t < end - begin; ++t) {
      outputs.Sum(paths.nodes.data() + t * paths.visits, paths.logits.data() + t * paths.stride, nullptr,
                  output.row(t));
      if (trace) CopyTrace(paths, t, *trace, begin + t);
    }
    output.Finish();
  });
}

// WalkForm::kOneByThreads.
inline void NeuronTreeOneByThreads(const PackedNeuronTree& weights, const float* x, size_t tokens, float* y,
                                   const NeuronTreeTrace* trace, ThreadPool& pool) {
  const NeuronTreeShape& shape = weights.shape();
  const PaddedInput input(x, tokens, shape.width);
  PaddedOutput output(y, tokens, shape.width, PaddedOutput::Start::kAnything);
  BlockPaths paths(shape, tokens);
  const auto share = [&](size_t count) { return (count + pool.threads() - 1) / pool.threads(); };
  pool.ParallelFor(shape.trees, share(shape.trees),
                   [&](size_t begin, size_t end) { Descend(weights, input, tokens, begin, end, paths); });
  NeuronOutputs outputs(weights.neurons(), paths.visits);
  for (size_t t = 0; t < tokens; ++t) {
    outputs.Prepare(paths.nodes.data() + t * paths.visits, paths.logits.data() + t * paths.stride, nullptr);
    pool.ParallelFor(weights.row(), RoundUpToLine<float>(share(weights.row())),
                     [&](size_t begin, size_t end) { outputs.SumRange(begin, end, output.row(t)); });
    if (trace) CopyTrace(paths, t, *trace, t);
  }
  output.Finish();
}

// Backward, first half: per token, the gradient of each visited logit and of x. values [tokens, visits] of `dlogits`.
inline void NeuronTreeTokenGradients(const PackedNeuronTree& weights, const NeuronTreeTrace& trace, const float* dy,
                                     size_t tokens, float* dx, float* dlogits, ThreadPool& pool) {
  const NeuronTreeShape& shape = weights.shape();
  const size_t visits = shape.trees * shape.levels(), row = weights.row();
  pool.ParallelFor(tokens, kNeuronTokenBlock, [&](size_t begin, size_t end) {
    const PaddedInput gradient(dy + begin * shape.width, end - begin, shape.width);
    PaddedOutput output(dx + begin * shape.width, end - begin, shape.width);
    ScratchVector<const float*> rows(visits);
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
      SumRows(rows.data(), dlogits + t * visits, visits, 0, row, output.row(t - begin));
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
