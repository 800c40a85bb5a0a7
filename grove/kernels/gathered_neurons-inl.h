// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Gathered neurons in vectors, compiled once per target. The rows of a token are scattered in memory: those of its next
// neuron are asked for while this one's are used.

#include "grove/base/scratch.h"
#include "grove/kernels/gathered_neurons.h"
#include "grove/kernels/padded_rows.h"
#include "grove/kernels/simd-inl.h"
#include "hwy/cache_control.h"

#if defined(GROVE_KERNELS_GATHERED_NEURONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_GATHERED_NEURONS_INL_H_
#undef GROVE_KERNELS_GATHERED_NEURONS_INL_H_
#else
#define GROVE_KERNELS_GATHERED_NEURONS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

inline constexpr size_t kNeuronTokenBlock = 16;

HWY_INLINE void PrefetchRow(const float* row, size_t size) {
  for (size_t i = 0; i < size; i += kCacheLineBytes / sizeof(float)) hwy::Prefetch(row + i);
}

// y[column ...] = sum over the rows of scale[i] * rows[i][column ...], `kVecs` vectors at once.
template <size_t kVecs>
HWY_INLINE void SumColumns(const float* const* rows, const float* scales, size_t count, size_t column, float* y) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec sum[kVecs];
  for (size_t v = 0; v < kVecs; ++v) sum[v] = hn::Zero(d);
  for (size_t i = 0; i < count; ++i) {
    const FloatVec scale = hn::Set(d, scales[i]);
    for (size_t v = 0; v < kVecs; ++v) {
      sum[v] = hn::MulAdd(scale, hn::LoadU(d, rows[i] + column + v * lanes), sum[v]);
    }
  }
  for (size_t v = 0; v < kVecs; ++v) hn::StoreU(sum[v], d, y + column + v * lanes);
}

// Columns begin ... end - 1, both multiples of 16.
HWY_INLINE void SumRows(const float* const* rows, const float* scales, size_t count, size_t begin, size_t end,
                        float* y) {
  constexpr size_t kVecs = 8;
  const size_t lanes = hn::Lanes(FloatTag());
  size_t column = begin;
  for (; column + kVecs * lanes <= end; column += kVecs * lanes) SumColumns<kVecs>(rows, scales, count, column, y);
  for (; column < end; column += lanes) SumColumns<1>(rows, scales, count, column, y);
}

// From the logits of a token's neurons to its output; keeps its arrays from token to token.
class NeuronOutputs {
 public:
  NeuronOutputs(const PackedNeurons& neurons, size_t per_token)
      : neurons_(neurons),
        count_(per_token),
        stride_(RoundUpToLine<float>(per_token)),
        values_((neurons.shape().two_sided ? 2 : 1) * stride_),
        rows_((neurons.shape().two_sided ? 2 : 1) * per_token),
        scales_(rows_.size()) {}

  // logits [stride of per_token]; gates may be null.
  HWY_INLINE void Sum(const uint32_t* chosen, const float* logits, const float* gates, float* y) {
    Prepare(chosen, logits, gates);
    SumRange(0, neurons_.row(), y);
  }

  HWY_INLINE void SumRange(size_t begin, size_t end, float* y) const {
    SumRows(rows_.data(), scales_.data(), rows_.size(), begin, end, y);
  }

  HWY_INLINE void Prepare(const uint32_t* chosen, const float* logits, const float* gates) {
    const NeuronsShape& shape = neurons_.shape();
    ActivateRow(shape.activation, logits, values_.data(), stride_);
    if (shape.two_sided) ActivateNegatedRow(shape.activation, logits, values_.data() + stride_, stride_);
    for (size_t s = 0, i = 0; s < count_; ++s) {
      rows_[i] = neurons_.out(chosen[s]);
      scales_[i++] = gates ? gates[s] * values_[s] : values_[s];
      if (!shape.two_sided) continue;
      rows_[i] = neurons_.out_left(chosen[s]);
      scales_[i++] = gates ? gates[s] * values_[stride_ + s] : values_[stride_ + s];
    }
  }

 private:
  const PackedNeurons& neurons_;
  size_t count_, stride_;
  ScratchVector<float> values_;
  ScratchVector<const float*> rows_;
  ScratchVector<float> scales_;
};

// One token; logits is scratch [whole lines of per_token].
HWY_INLINE void GatherToken(const PackedNeurons& neurons, const float* x, const uint32_t* chosen, const float* gates,
                            size_t count, float* logits, NeuronOutputs& outputs, float* y) {
  const size_t row = neurons.row(), outs = neurons.shape().two_sided ? 2 * row : row;
  for (size_t s = 0; s < count; ++s) {
    if (s + 1 < count) PrefetchRow(neurons.in(chosen[s + 1]), row);
    logits[s] = Dot(neurons.in(chosen[s]), x, row) + neurons.bias(chosen[s]);
    PrefetchRow(neurons.out(chosen[s]), outs);
  }
  outputs.Sum(chosen, logits, gates, y);
}

inline void GatheredNeuronsForwardSimd(const PackedNeurons& neurons, const float* x, size_t tokens,
                                       const NeuronChoices& choices, float* y, ThreadPool& pool) {
  const size_t width = neurons.shape().width, count = choices.per_token;
  pool.ParallelFor(tokens, kNeuronTokenBlock, [&](size_t begin, size_t end) {
    const PaddedInput input(x + begin * width, end - begin, width);
    PaddedOutput output(y + begin * width, end - begin, width);
    ScratchVector<float> logits(RoundUpToLine<float>(count));
    NeuronOutputs outputs(neurons, count);
    for (size_t t = begin; t < end; ++t) {
      GatherToken(neurons, input.row(t - begin), choices.chosen + t * count,
                  choices.gates ? choices.gates + t * count : nullptr, count, logits.data(), outputs,
                  output.row(t - begin));
    }
    output.Finish();
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_GATHERED_NEURONS_INL_H_
