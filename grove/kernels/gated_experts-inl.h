// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Gated experts in vectors, compiled once per target. The choices of a block of tokens are sorted by expert, and every
// expert runs as two small dense products over the tokens that chose it.

#include <algorithm>
#include <span>

#include "grove/base/scratch.h"
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
template <class Ahead>
HWY_INLINE void ExpertHidden(const PackedExperts& experts, size_t e, std::span<const float* const> x, float* hidden,
                             Ahead& ahead) {
  const FloatTag d;
  const size_t stride = experts.hidden_row();
  const float* bias = experts.b1(e);
  RowsTimesMatrix(
      x.data(), x.size(), experts.shape().in_width, experts.w1(e), stride, stride,
      [&](size_t r, size_t n, FloatVec sum)
          HWY_ATTR { hn::StoreU(hn::Add(sum, hn::LoadU(d, bias + n)), d, hidden + r * stride + n); },
      ahead);
}

// y[token] += gate * (hidden W2 + b2) of one expert.
template <class Ahead>
HWY_INLINE void ExpertOutput(const PackedExperts& experts, size_t e, std::span<const float* const> hidden,
                             const float* gates, float* const* y, Ahead& ahead) {
  const FloatTag d;
  const float* bias = experts.b2(e);
  RowsTimesMatrix(
      hidden.data(), hidden.size(), experts.shape().hidden_width, experts.w2(e), experts.out_row(), experts.out_row(),
      [&](size_t r, size_t n, FloatVec sum) HWY_ATTR {
        const FloatVec value = hn::Add(sum, hn::LoadU(d, bias + n));
        hn::StoreU(hn::MulAdd(hn::Set(d, gates[r]), value, hn::LoadU(d, y[r] + n)), d, y[r] + n);
      },
      ahead);
}

// A block of tokens through the experts they chose, expert after expert. While one computes, what it needs next is on
// its way: its own second matrix, the rows that its tokens' outputs add to, then the next expert's tokens and first
// matrix.
class ExpertBlock {
 public:
  ExpertBlock(const PackedExperts& experts, const float* x, size_t tokens, const ExpertChoices& choices, float* y)
      : experts_(experts),
        input_(x, tokens, experts.shape().in_width),
        output_(y, tokens, experts.shape().out_width),
        by_expert_(choices.chosen, tokens * choices.per_token, experts.shape().experts),
        hidden_(tokens * experts.hidden_row()) {
    for (const auto& [e, positions] : by_expert_.groups()) {
      for (const size_t at : positions) {
        x_.push_back(input_.row(at / choices.per_token));
        y_.push_back(output_.row(at / choices.per_token));
        gates_.push_back(choices.gates[at]);
      }
    }
    for (size_t t = 0; t < tokens; ++t) hidden_rows_.push_back(hidden_.data() + t * experts.hidden_row());
  }

  HWY_INLINE void Run() {
    const ExpertsShape& shape = experts_.shape();
    size_t first = 0;
    for (size_t g = 0; g < by_expert_.groups().size(); ++g) {
      const size_t e = by_expert_.groups()[g].key, rows = Rows(g);
      const std::span<const float* const> hidden(hidden_rows_.data(), rows);
      AskWhileHidden(g, first);
      ExpertHidden(experts_, e, {x_.data() + first, rows}, hidden_.data(), ahead_);
      ActivateRow(shape.activation, hidden_.data(), hidden_.data(), rows * experts_.hidden_row());
      AskWhileOutput(g);
      ExpertOutput(experts_, e, hidden, gates_.data() + first, y_.data() + first, ahead_);
      first += rows;
    }
    output_.Finish();
  }

 private:
  size_t Rows(size_t group) const { return by_expert_.groups()[group].positions.size(); }

  void AskWhileHidden(size_t group, size_t first) {
    const ExpertsShape& shape = experts_.shape();
    const size_t rows = Rows(group), e = by_expert_.groups()[group].key;
    ahead_.Clear();
    // One token in one expert waits for memory alone: the first matrix, read in order, is what it should bring.
    if (by_expert_.groups().size() == 1 && rows == 1) return;
    ahead_.Add(experts_.w2(e), shape.hidden_width * experts_.out_row() * sizeof(float));
    for (size_t r = first; r < first + rows; ++r) ahead_.Add(y_[r], shape.out_width * sizeof(float));
    if (group + 1 < by_expert_.groups().size()) {
      for (size_t r = 0; r < Rows(group + 1); ++r) ahead_.Add(x_[first + rows + r], shape.in_width * sizeof(float));
    }
    ahead_.Spread(AsksOfProduct(rows, shape.in_width, experts_.hidden_row()));
  }

  void AskWhileOutput(size_t group) {
    const ExpertsShape& shape = experts_.shape();
    ahead_.Clear();
    if (group + 1 < by_expert_.groups().size()) {
      const size_t next = by_expert_.groups()[group + 1].key;
      ahead_.Add(experts_.w1(next), shape.in_width * experts_.hidden_row() * sizeof(float));
    }
    ahead_.Spread(AsksOfProduct(Rows(group), shape.hidden_width, experts_.out_row()));
  }

  const PackedExperts& experts_;
  const PaddedInput input_;
  PaddedOutput output_;
  const Grouping by_expert_;
  ScratchVector<float> hidden_;
  ScratchVector<const float*> x_, hidden_rows_;  // x_, y_, gates_: of all choices, by expert
  ScratchVector<float*> y_;
  ScratchVector<float> gates_;
  LinesAhead ahead_;
};

inline void GatedExpertsForwardSimd(const PackedExperts& experts, const float* x, size_t tokens,
                                    const ExpertChoices& choices, float* y, ThreadPool& pool) {
  const ExpertsShape& shape = experts.shape();
  pool.ParallelFor(tokens, ExpertGrain(tokens, pool), [&](size_t begin, size_t end) {
    const size_t first = begin * choices.per_token;
    ExpertBlock(experts, x + begin * shape.in_width, end - begin,
                {choices.chosen + first, choices.gates + first, choices.per_token}, y + begin * shape.out_width)
        .Run();
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_GATED_EXPERTS_INL_H_
