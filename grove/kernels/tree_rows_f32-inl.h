// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// fp32 rows of neuron trees in vectors, compiled once per target: several tokens share every load of a weight row. Each
// token's sums have one order, that of Dot() and of SumRows(), however many tokens share a call.

#include "grove/kernels/gathered_neurons.h"
#include "grove/kernels/simd-inl.h"
#include "grove/kernels/tree_arithmetic.h"

#if defined(GROVE_KERNELS_TREE_ROWS_F32_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_TREE_ROWS_F32_INL_H_
#undef GROVE_KERNELS_TREE_ROWS_F32_INL_H_
#else
#define GROVE_KERNELS_TREE_ROWS_F32_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Accumulators and operands must fit the 16 (AVX2) or 32 (AVX-512) vector registers.
inline constexpr size_t kLogitTokens = HWY_MAX_BYTES >= 64 ? 4 : 2;
inline constexpr size_t kOutputTokens = 4;
inline constexpr size_t kOutputVecs = HWY_MAX_BYTES >= 64 ? 4 : 2;

// Dot() of `kTokens` rows with the same row of weights.
template <size_t kTokens, bool kAhead>
HWY_INLINE void LogitsTile(const float* HWY_RESTRICT w, const float* const* x, const float* const* ahead, size_t size,
                           float bias, float* HWY_RESTRICT logits) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec sum[kTokens][4];
  HWY_UNROLL(8)
  for (size_t t = 0; t < kTokens; ++t) {
    HWY_UNROLL(8)
    for (size_t v = 0; v < 4; ++v) sum[t][v] = hn::Zero(d);
  }
  size_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    if (kAhead) {
      HWY_UNROLL(8)
      for (size_t t = 0; t < kTokens; ++t) __builtin_prefetch(ahead[t] + i / 4, 0, 2);
    }
    HWY_UNROLL(8)
    for (size_t v = 0; v < 4; ++v) {
      const FloatVec wv = hn::LoadU(d, w + i + v * lanes);
      HWY_UNROLL(8)
      for (size_t t = 0; t < kTokens; ++t) {
        sum[t][v] = hn::MulAdd(wv, hn::LoadU(d, x[t] + i + v * lanes), sum[t][v]);
      }
    }
  }
  for (; i < size; i += lanes) {
    const FloatVec wv = hn::LoadU(d, w + i);
    HWY_UNROLL(8)
    for (size_t t = 0; t < kTokens; ++t) sum[t][0] = hn::MulAdd(wv, hn::LoadU(d, x[t] + i), sum[t][0]);
  }
  HWY_UNROLL(8)
  for (size_t t = 0; t < kTokens; ++t) {
    const FloatVec total = hn::Add(hn::Add(sum[t][0], sum[t][1]), hn::Add(sum[t][2], sum[t][3]));
    logits[t] = hn::GetLane(hn::SumOfLanes(d, total)) + bias;
  }
}

template <bool kAhead>
HWY_INLINE void LogitsRows(const float* w, const float* const* x, const float* const* ahead, size_t count, size_t size,
                           float bias, float* logits) {
  size_t t = 0;
  for (; t + kLogitTokens <= count; t += kLogitTokens) {
    LogitsTile<kLogitTokens, kAhead>(w, x + t, ahead + t, size, bias, logits + t);
  }
  if (kLogitTokens > 3 && count - t == 3) return LogitsTile<3, kAhead>(w, x + t, ahead + t, size, bias, logits + t);
  if (count - t == 2) return LogitsTile<2, kAhead>(w, x + t, ahead + t, size, bias, logits + t);
  if (count - t == 1) LogitsTile<1, kAhead>(w, x + t, ahead + t, size, bias, logits + t);
}

inline void TreeLogitsF32(const PackedNeurons& neurons, size_t node, const void* const* x, const void* const* ahead,
                          size_t count, float* logits) {
  const float* w = neurons.in(node);
  const float* const* rows = reinterpret_cast<const float* const*>(x);
  const float* const* ahead_rows = reinterpret_cast<const float* const*>(ahead);
  const float bias = neurons.bias(node);
  const size_t size = neurons.row();
  if (ahead) {
    LogitsRows<true>(w, rows, ahead_rows, count, size, bias, logits);
  } else {
    LogitsRows<false>(w, rows, rows, count, size, bias, logits);
  }
}

// The rows of a path and what each token multiplies them with.
struct PathTerms {
  static constexpr size_t kMost = 128;  // levels, twice if two-sided
  const float* rows[kMost];
  float scales[kOutputTokens][kMost];
  size_t count = 0;
};

template <size_t kTokens, size_t kVecs>
HWY_INLINE void OutputsTile(const PathTerms& terms, TreeArithmetic::Into into, size_t column, float* const* y) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec sum[kTokens][kVecs];
  HWY_UNROLL(8)
  for (size_t t = 0; t < kTokens; ++t) {
    HWY_UNROLL(8)
    for (size_t v = 0; v < kVecs; ++v)
      sum[t][v] = into != TreeArithmetic::Into::kSum ? hn::Zero(d) : hn::LoadU(d, y[t] + column + v * lanes);
  }
  for (size_t i = 0; i < terms.count; ++i) {
    FloatVec row[kVecs];
    HWY_UNROLL(8)
    for (size_t v = 0; v < kVecs; ++v) row[v] = hn::LoadU(d, terms.rows[i] + column + v * lanes);
    HWY_UNROLL(8)
    for (size_t t = 0; t < kTokens; ++t) {
      const FloatVec scale = hn::Set(d, terms.scales[t][i]);
      HWY_UNROLL(8)
      for (size_t v = 0; v < kVecs; ++v) sum[t][v] = hn::MulAdd(scale, row[v], sum[t][v]);
    }
  }
  HWY_UNROLL(8)
  for (size_t t = 0; t < kTokens; ++t) {
    HWY_UNROLL(8)
    for (size_t v = 0; v < kVecs; ++v) {
      float* target = y[t] + column + v * lanes;
      into == TreeArithmetic::Into::kMemory ? hn::Stream(sum[t][v], d, target) : hn::StoreU(sum[t][v], d, target);
    }
  }
}

template <size_t kTokens>
HWY_INLINE void OutputsRow(const PathTerms& terms, size_t size, TreeArithmetic::Into into, float* const* y) {
  const size_t lanes = hn::Lanes(FloatTag());
  size_t column = 0;
  for (; column + kOutputVecs * lanes <= size; column += kOutputVecs * lanes) {
    OutputsTile<kTokens, kOutputVecs>(terms, into, column, y);
  }
  for (; column < size; column += lanes) OutputsTile<kTokens, 1>(terms, into, column, y);
}

// Term by term: right then left of each level, so that a chain does not depend on how many levels there are.
HWY_INLINE void FillScales(const NeuronsShape& shape, const float* logits, size_t levels, float* scales) {
  HWY_ALIGN float right[PathTerms::kMost], left[PathTerms::kMost];
  const size_t padded = RoundUpToLine<float>(levels);
  ActivateRow(shape.activation, logits, shape.two_sided ? right : scales, padded);
  if (!shape.two_sided) return;
  ActivateNegatedRow(shape.activation, logits, left, padded);
  for (size_t l = 0; l < levels; ++l) scales[2 * l] = right[l], scales[2 * l + 1] = left[l];
}

inline void TreeOutputsF32(const PackedNeurons& neurons, const uint32_t* nodes, size_t levels,
                           const float* const* logits, size_t count, TreeArithmetic::Into into, float* const* y) {
  const bool two_sided = neurons.shape().two_sided;
  const size_t size = neurons.row();
  PathTerms terms;
  for (size_t l = 0; l < levels; ++l) {
    terms.rows[terms.count++] = neurons.out(nodes[l]);
    if (two_sided) terms.rows[terms.count++] = neurons.out_left(nodes[l]);
  }
  for (size_t t = 0; t < count; t += kOutputTokens) {
    const size_t tokens = HWY_MIN(kOutputTokens, count - t);
    for (size_t i = 0; i < tokens; ++i) FillScales(neurons.shape(), logits[t + i], levels, terms.scales[i]);
    switch (tokens) {
      case 4:
        OutputsRow<4>(terms, size, into, y + t);
        break;
      case 3:
        OutputsRow<3>(terms, size, into, y + t);
        break;
      case 2:
        OutputsRow<2>(terms, size, into, y + t);
        break;
      default:
        OutputsRow<1>(terms, size, into, y + t);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_TREE_ROWS_F32_INL_H_
