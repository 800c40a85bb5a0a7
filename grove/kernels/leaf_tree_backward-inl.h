// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Backward of leaf trees in vectors, compiled once per target, in three passes whose work units own what they write, so
// that nothing depends on the number of threads: per leaf (weight gradients, gate gradients), per token (x and
// decisions), per decision node (its weights).

#include <algorithm>
#include <cmath>
#include <vector>

#include "grove/kernels/gated_experts-inl.h"
#include "grove/kernels/leaf_router-inl.h"
#include "grove/kernels/leaf_tree.h"

#if defined(GROVE_KERNELS_LEAF_TREE_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_LEAF_TREE_BACKWARD_INL_H_
#undef GROVE_KERNELS_LEAF_TREE_BACKWARD_INL_H_
#else
#define GROVE_KERNELS_LEAF_TREE_BACKWARD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Between the passes. Position = token * paths + slot.
struct LeafBackwardState {
  LeafBackwardState(const PackedLeafTree& weights, size_t tokens)
      : dhidden(tokens * weights.shape().paths * weights.experts().hidden_row()),
        dgates(tokens * weights.shape().paths),
        dlogits(tokens * weights.shape().decisions()) {}
  AlignedArray<float> dhidden;  // [positions, hidden_row]: gradient before the activation
  AlignedArray<float> dgates;   // [positions]
  AlignedArray<float> dlogits;  // [tokens, decisions]
};

// b [columns, b_stride] = transpose of a [rows, a_stride].
HWY_INLINE void Transpose(const float* a, size_t rows, size_t columns, size_t a_stride, float* b, size_t b_stride) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) b[c * b_stride + r] = a[r * a_stride + c];
  }
}

// target [rows, columns] = the unpadded part of padded [rows, stride].
HWY_INLINE void CopyUnpadded(const float* padded, size_t rows, size_t columns, size_t stride, float* target) {
  for (size_t r = 0; r < rows; ++r) std::copy_n(padded + r * stride, columns, target + r * columns);
}

// One leaf over the positions that chose it.
class LeafPass {
 public:
  LeafPass(const PackedLeafTree& weights, const PaddedInput& x, const PaddedInput& dy, const LeafTreeTrace& trace,
           LeafBackwardState& state)
      : weights_(weights), x_(x), dy_(dy), trace_(trace), state_(state) {}

  HWY_INLINE void Run(uint32_t leaf, std::span<const size_t> positions, const LeafTreeGradients& gradients) {
    Gather(positions);
    hidden_ = AlignedArray<float>(positions.size() * weights_.experts().hidden_row());
    const NothingAhead nothing;
    ExpertHidden(weights_.experts(), leaf, x_rows_, hidden_.data(), nothing);
    HiddenGradients(leaf);
    for (size_t r = 0; r < positions.size(); ++r) ActivationBackward(leaf, positions[r], r);
    WeightGradients(leaf, positions, gradients);
  }

 private:
  HWY_INLINE void Gather(std::span<const size_t> positions) {
    x_rows_.clear(), dy_rows_.clear(), hidden_rows_.clear(), dhidden_rows_.clear();
    for (const size_t at : positions) {
      x_rows_.push_back(x_.row(at / weights_.shape().paths));
      dy_rows_.push_back(dy_.row(at / weights_.shape().paths));
      dhidden_rows_.push_back(state_.dhidden.data() + at * weights_.experts().hidden_row());
    }
  }

  // dhidden = dy W2^T, before gate and activation.
  HWY_INLINE void HiddenGradients(uint32_t leaf) {
    const FloatTag d;
    const LeafTreeShape& shape = weights_.shape();
    const size_t stride = weights_.experts().hidden_row();
    AlignedArray<float> transposed(shape.out_width * stride);
    Transpose(weights_.experts().w2(leaf), shape.leaf_width, shape.out_width, weights_.experts().out_row(),
              transposed.data(), stride);
    RowsTimesMatrix(dy_rows_.data(), dy_rows_.size(), shape.out_width, transposed.data(), stride, stride,
                    [&](size_t r, size_t n, FloatVec sum) { hn::StoreU(sum, d, dhidden_rows_[r] + n); });
  }

  // Row r: turns logits into gate * act(logit), dhidden into the gradient before the activation; the gate's gradient.
  HWY_INLINE void ActivationBackward(uint32_t leaf, size_t at, size_t r) {
    const FloatTag d;
    const Activation activation = weights_.shape().activation;
    float* hidden = hidden_.data() + r * weights_.experts().hidden_row();
    float* dhidden = dhidden_rows_[r];
    const FloatVec gate = hn::Set(d, trace_.gates[at]);
    FloatVec dgate = hn::Zero(d);
    for (size_t n = 0; n < weights_.experts().hidden_row(); n += hn::Lanes(d)) {
      const FloatVec logit = hn::LoadU(d, hidden + n), gradient = hn::LoadU(d, dhidden + n);
      const FloatVec active = ActivateVec(activation, logit);
      dgate = hn::MulAdd(gradient, active, dgate);
      hn::StoreU(hn::Mul(gate, active), d, hidden + n);
      hn::StoreU(hn::Mul(hn::Mul(gate, gradient), ActivateDerivativeVec(activation, logit)), d, dhidden + n);
    }
    state_.dgates[at] = hn::GetLane(hn::SumOfLanes(d, dgate)) +
                        Dot(dy_rows_[r], weights_.experts().b2(leaf), weights_.experts().out_row());
    hidden_rows_.push_back(hidden);
  }

  HWY_INLINE void WeightGradients(uint32_t leaf, std::span<const size_t> positions, const LeafTreeGradients& g) {
    const LeafTreeShape& shape = weights_.shape();
    const size_t in = shape.in_width, hidden = shape.leaf_width, out = shape.out_width;
    const size_t hidden_row = weights_.experts().hidden_row(), out_row = weights_.experts().out_row(),
                 count = positions.size();
    AlignedArray<float> dw1(in * hidden_row), db1(hidden_row), dw2(hidden * out_row), db2(out_row);
    TransposedTimesRows(x_rows_.data(), dhidden_rows_.data(), count, in, hidden_row, dw1.data(), hidden_row);
    TransposedTimesRows(hidden_rows_.data(), dy_rows_.data(), count, hidden, out_row, dw2.data(), out_row);
    for (size_t r = 0; r < count; ++r) {
      AddScaled(1.0f, dhidden_rows_[r], db1.data(), hidden_row);
      AddScaled(trace_.gates[positions[r]], dy_rows_[r], db2.data(), out_row);
    }
    CopyUnpadded(dw1.data(), in, hidden, hidden_row, g.dw1 + leaf * in * hidden);
    CopyUnpadded(db1.data(), 1, hidden, hidden_row, g.db1 + leaf * hidden);
    CopyUnpadded(dw2.data(), hidden, out, out_row, g.dw2 + leaf * hidden * out);
    CopyUnpadded(db2.data(), 1, out, out_row, g.db2 + leaf * out);
  }

  const PackedLeafTree& weights_;
  const PaddedInput& x_;
  const PaddedInput& dy_;
  const LeafTreeTrace& trace_;
  LeafBackwardState& state_;
  AlignedArray<float> hidden_;
  std::vector<const float*> x_rows_, dy_rows_, hidden_rows_;
  std::vector<float*> dhidden_rows_;
};

inline void LeafTreeLeafPass(const PackedLeafTree& weights, const PaddedInput& x, const PaddedInput& dy,
                             const LeafTreeTrace& trace, const Grouping& by_leaf, const LeafTreeGradients& gradients,
                             LeafBackwardState& state, ThreadPool& pool) {
  pool.ParallelFor(by_leaf.groups().size(), 1, [&](size_t begin, size_t end) {
    LeafPass pass(weights, x, dy, trace, state);
    for (size_t g = begin; g < end; ++g) {
      pass.Run(by_leaf.groups()[g].key, by_leaf.groups()[g].positions, gradients);
    }
  });
}

// Gradients of the decisions that token t passed, into its row of dlogits; adds their part of dx.
HWY_INLINE void DecisionGradients(const PackedLeafTree& weights, const FloatNodes& nodes, const float* x,
                                  const uint32_t* leaves, const float* gates, const float* dgates,
                                  std::vector<float>& right, std::vector<float>& left, float* dlogits, float* dx) {
  const LeafTreeShape& shape = weights.shape();
  float mean = 0;
  for (size_t s = 0; s < shape.paths; ++s) mean += gates[s] * dgates[s];
  right.assign(shape.decisions(), 0.0f);
  left.assign(shape.decisions(), 0.0f);
  for (size_t s = 0; s < shape.paths; ++s) {  // d log p of each chosen leaf, summed over the leaves on either side
    const float dlog_p = gates[s] * (dgates[s] - mean);
    for (size_t node = shape.decisions() + leaves[s]; node > 0;) {
      const bool is_right = node % 2 == 0;
      node = (node - 1) / 2;
      (is_right ? right : left)[node] += dlog_p;
    }
  }
  for (size_t node = 0; node < shape.decisions(); ++node) {
    if (right[node] == 0.0f && left[node] == 0.0f) continue;
    const float p_right = 1.0f / (1.0f + std::exp(-shape.decision_scale * nodes.Logit(node, x)));
    dlogits[node] = shape.decision_scale * (right[node] - p_right * (right[node] + left[node]));
    AddScaled(dlogits[node], weights.router().node(node), dx, weights.router().row());
  }
}

inline void LeafTreeTokenPass(const PackedLeafTree& weights, const PaddedInput& x, const LeafTreeTrace& trace,
                              size_t tokens, float* dx, LeafBackwardState& state, ThreadPool& pool) {
  const FloatTag d;
  const LeafTreeShape& shape = weights.shape();
  const size_t paths = shape.paths, in_row = weights.router().row();
  AlignedArray<float> w1_transposed(shape.leaves() * shape.leaf_width * in_row);
  pool.ParallelFor(shape.leaves(), 1, [&](size_t begin, size_t end) {
    for (size_t leaf = begin; leaf < end; ++leaf) {
      Transpose(weights.experts().w1(leaf), shape.in_width, shape.leaf_width, weights.experts().hidden_row(),
                w1_transposed.data() + leaf * shape.leaf_width * in_row, in_row);
    }
  });
  pool.ParallelFor(tokens, ExpertGrain(tokens, pool), [&](size_t begin, size_t end) {
    PaddedOutput output(dx + begin * shape.in_width, end - begin, shape.in_width);
    std::vector<const float*> rows;
    std::vector<float*> targets;
    const Grouping by_leaf(trace.leaves + begin * paths, (end - begin) * paths, shape.leaves());
    for (const auto& [leaf, positions] : by_leaf.groups()) {
      rows.clear(), targets.clear();
      for (const size_t at : positions) {
        rows.push_back(state.dhidden.data() + (begin * paths + at) * weights.experts().hidden_row());
        targets.push_back(output.row(at / paths));
      }
      RowsTimesMatrix(rows.data(), rows.size(), shape.leaf_width,
                      w1_transposed.data() + leaf * shape.leaf_width * in_row, in_row, in_row,
                      [&](size_t r, size_t n, FloatVec sum) {
                        hn::StoreU(hn::Add(sum, hn::LoadU(d, targets[r] + n)), d, targets[r] + n);
                      });
    }
    const FloatNodes nodes(weights.router());
    std::vector<float> right, left;
    for (size_t t = begin; paths > 1 && t < end; ++t) {
      DecisionGradients(weights, nodes, x.row(t), trace.leaves + t * paths, trace.gates + t * paths,
                        state.dgates.data() + t * paths, right, left, state.dlogits.data() + t * shape.decisions(),
                        output.row(t - begin));
    }
    output.Finish();
  });
}

inline void LeafTreeDecisionPass(const PackedLeafTree& weights, const PaddedInput& x, size_t tokens,
                                 const LeafBackwardState& state, const LeafTreeGradients& gradients, ThreadPool& pool) {
  const LeafTreeShape& shape = weights.shape();
  pool.ParallelFor(shape.decisions(), 1, [&](size_t begin, size_t end) {
    for (size_t node = begin; node < end; ++node) {
      AlignedArray<float> sum(weights.router().row());
      double bias = 0;
      for (size_t t = 0; t < tokens; ++t) {
        const float dlogit = state.dlogits[t * shape.decisions() + node];
        if (dlogit == 0.0f) continue;
        bias += dlogit;
        AddScaled(dlogit, x.row(t), sum.data(), weights.router().row());
      }
      std::copy_n(sum.data(), shape.in_width, gradients.dnode_weights + node * shape.in_width);
      gradients.dnode_biases[node] = static_cast<float>(bias);
    }
  });
}

inline void LeafTreeBackwardSimd(const PackedLeafTree& weights, const float* x, const LeafTreeTrace& trace,
                                 const float* dy, size_t tokens, const LeafTreeGradients& gradients, ThreadPool& pool) {
  const LeafTreeShape& shape = weights.shape();
  std::fill_n(gradients.dw1, shape.leaves() * shape.in_width * shape.leaf_width, 0.0f);  // leaves nobody chose
  std::fill_n(gradients.db1, shape.leaves() * shape.leaf_width, 0.0f);
  std::fill_n(gradients.dw2, shape.leaves() * shape.leaf_width * shape.out_width, 0.0f);
  std::fill_n(gradients.db2, shape.leaves() * shape.out_width, 0.0f);
  const PaddedInput px(x, tokens, shape.in_width), pdy(dy, tokens, shape.out_width);
  LeafBackwardState state(weights, tokens);
  const Grouping by_leaf(trace.leaves, tokens * shape.paths, shape.leaves());
  LeafTreeLeafPass(weights, px, pdy, trace, by_leaf, gradients, state, pool);
  LeafTreeTokenPass(weights, px, trace, tokens, gradients.dx, state, pool);
  LeafTreeDecisionPass(weights, px, tokens, state, gradients, pool);
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_LEAF_TREE_BACKWARD_INL_H_
