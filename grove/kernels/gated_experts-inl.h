// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Gated experts in vectors, compiled once per target. The choices of a block of tokens are sorted by expert, and every
// expert runs as two small dense products over the tokens that chose it.

#include <algorithm>
#include <vector>

#include "grove/kernels/block_product-inl.h"
#include "grove/kernels/gated_experts.h"
#include "grove/kernels/grouping.h"
#include "grove/kernels/padded_rows.h"

#if defined(GROVE_KERNELS_GATED_EXPERTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_GATED_EXPERTS_INL_H_
#undef GROVE_KERNELS_GATED_EXPERTS_INL_H_
#else
#define GROVE_KERNELS_GATED_EXPERTS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Tokens that share a pass over the experts: enough that an expert has rows to reuse its weights for. 512 takes 10 to
// 20 % longer (32 leaves of 128 and 128 leaves of 32, 4,096 tokens).
inline constexpr size_t kExpertTokenBlock = 2048;

inline size_t ExpertGrain(size_t tokens, const ThreadPool& pool) {
  const size_t share = (tokens + pool.threads() - 1) / pool.threads();
  return std::clamp<size_t>(share, 16, kExpertTokenBlock);
}

// hidden [rows, hidden_row] = x W1 + b1 of one expert.
HWY_INLINE void ExpertHidden(const PackedExperts& experts, size_t e, const std::vector<const float*>& x,
                             float* hidden) {
  const FloatTag d;
  const size_t stride = experts.hidden_row();
  const float* bias = experts.b1(e);
  RowsTimesMatrix(x.data(), x.size(), experts.shape().in_width, experts.w1(e), stride, stride,
                  [&](size_t r, size_t n, FloatVec sum) {
                    hn::StoreU(hn::Add(sum, hn::LoadU(d, bias + n)), d, hidden + r * stride + n);
                  });
}

// y[token] += gate * (hidden W2 + b2) of one expert.
HWY_INLINE void ExpertOutput(const PackedExperts& experts, size_t e, const std::vector<const float*>& hidden,
                             const std::vector<float>& gates, const std::vector<float*>& y) {
  const FloatTag d;
  const float* bias = experts.b2(e);
  RowsTimesMatrix(hidden.data(), hidden.size(), experts.shape().hidden_width, experts.w2(e), experts.out_row(),
                  experts.out_row(), [&](size_t r, size_t n, FloatVec sum) {
                    const FloatVec value = hn::Add(sum, hn::LoadU(d, bias + n));
                    hn::StoreU(hn::MulAdd(hn::Set(d, gates[r]), value, hn::LoadU(d, y[r] + n)), d, y[r] + n);
                  });
}

HWY_INLINE void GatedExpertsBlock(const PackedExperts& experts, const float* x, size_t tokens,
                                  const ExpertChoices& choices, float* y) {
  const ExpertsShape& shape = experts.shape();
  const PaddedInput input(x, tokens, shape.in_width);
  PaddedOutput output(y, tokens, shape.out_width);
  std::vector<const float*> rows, hidden_rows;
  std::vector<float> row_gates;
  std::vector<float*> out_rows;
  const size_t stride = experts.hidden_row();
  AlignedArray<float> hidden(tokens * stride);
  const Grouping by_expert(choices.chosen, tokens * choices.per_token, shape.experts);
  for (const auto& [e, positions] : by_expert.groups()) {
    rows.clear(), hidden_rows.clear(), row_gates.clear(), out_rows.clear();
    for (const size_t at : positions) {
      const size_t t = at / choices.per_token;
      hidden_rows.push_back(hidden.data() + rows.size() * stride);
      rows.push_back(input.row(t));
      row_gates.push_back(choices.gates[at]);
      out_rows.push_back(output.row(t));
    }
    ExpertHidden(experts, e, rows, hidden.data());
    ActivateRow(shape.activation, hidden.data(), hidden.data(), rows.size() * stride);
    ExpertOutput(experts, e, hidden_rows, row_gates, out_rows);
  }
  output.Finish();
}

inline void GatedExpertsForwardSimd(const PackedExperts& experts, const float* x, size_t tokens,
                                    const ExpertChoices& choices, float* y, ThreadPool& pool) {
  const ExpertsShape& shape = experts.shape();
  pool.ParallelFor(tokens, ExpertGrain(tokens, pool), [&](size_t begin, size_t end) {
    const size_t first = begin * choices.per_token;
    GatedExpertsBlock(experts, x + begin * shape.in_width, end - begin,
                      {choices.chosen + first, choices.gates + first, choices.per_token}, y + begin * shape.out_width);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_GATED_EXPERTS_INL_H_
