// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// fp32 rows of neuron trees in vectors, compiled once per target: several tokens share every load of a weight row. Each
// token's sums have one order, that of Dot() and of SumRows(), however many tokens share a call.

#include <algorithm>

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

// Dot() of `kTokens` rows with `kNodes` rows of weights; logits [kNodes, stride].
template <size_t kTokens, size_t kNodes, bool kAhead>
HWY_INLINE void LogitsTile(const PackedNeurons& neurons, const size_t* nodes, const float* const* x,
                           const float* const* ahead, float* HWY_RESTRICT logits, size_t stride) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d), size = neurons.row();
  const float* w[kNodes];
  for (size_t n = 0; n < kNodes; ++n) w[n] = neurons.in(nodes[n]);
  FloatVec sum[kNodes][kTokens][4];
  HWY_UNROLL(8)
  for (size_t n = 0; n < kNodes; ++n) {
    HWY_UNROLL(8)
    for (size_t t = 0; t < kTokens; ++t) {
      HWY_UNROLL(8)
      for (size_t v = 0; v < 4; ++v) sum[n][t][v] = hn::Zero(d);
    }
  }
  const auto add = [&](size_t i, size_t v) HWY_ATTR {
    FloatVec token[kTokens];
    HWY_UNROLL(8)
    for (size_t t = 0; t < kTokens; ++t) {
      token[t] = hn::LoadU(d, x[t] + i);
      if (kNodes > 1) KeepInRegister(token[t]);
    }
    HWY_UNROLL(8)
    for (size_t n = 0; n < kNodes; ++n) {
      FloatVec row = hn::LoadU(d, w[n] + i);
      if (kTokens > 1) KeepInRegister(row);
      HWY_UNROLL(8)
      for (size_t t = 0; t < kTokens; ++t) sum[n][t][v] = hn::MulAdd(row, token[t], sum[n][t][v]);
    }
  };
  size_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    if (kAhead) {
      HWY_UNROLL(8)
      for (size_t t = 0; t < kTokens; ++t) {
        __builtin_prefetch(ahead[t] + i / 4, 0, 2);
        if (kNodes > 1) __builtin_prefetch(ahead[t] + size / 4 + i / 4, 0, 2);
      }
    }
    HWY_UNROLL(8)
    for (size_t v = 0; v < 4; ++v) add(i + v * lanes, v);
  }
  for (; i < size; i += lanes) add(i, 0);
  HWY_UNROLL(8)
  for (size_t n = 0; n < kNodes; ++n) {
    HWY_UNROLL(8)
    for (size_t t = 0; t < kTokens; ++t) {
      const FloatVec total = hn::Add(hn::Add(sum[n][t][0], sum[n][t][1]), hn::Add(sum[n][t][2], sum[n][t][3]));
      logits[n * stride + t] = hn::GetLane(hn::SumOfLanes(d, total)) + neurons.bias(nodes[n]);
    }
  }
}

template <bool kAhead>
HWY_INLINE void LogitsRows(const PackedNeurons& neurons, size_t node, const float* const* x, const float* const* ahead,
                           size_t count, float* logits) {
  size_t t = 0;
  for (; t + kLogitTokens <= count; t += kLogitTokens) {
    LogitsTile<kLogitTokens, 1, kAhead>(neurons, &node, x + t, ahead + t, logits + t, 0);
  }
  if (kLogitTokens > 3 && count - t == 3) {
    return LogitsTile<3, 1, kAhead>(neurons, &node, x + t, ahead + t, logits + t, 0);
  }
  if (count - t == 2) return LogitsTile<2, 1, kAhead>(neurons, &node, x + t, ahead + t, logits + t, 0);
  if (count - t == 1) LogitsTile<1, 1, kAhead>(neurons, &node, x + t, ahead + t, logits + t, 0);
}

template <bool kAhead>
HWY_INLINE void LogitsOfThreeRows(const PackedNeurons& neurons, const size_t* nodes, const float* const* x,
                                  const float* const* ahead, size_t count, float* logits) {
  constexpr size_t kTokens = kLogitTokens / 2, kStride = TreeArithmetic::kMostAtOnce;
  size_t t = 0;
  for (; t + kTokens <= count; t += kTokens) {
    LogitsTile<kTokens, 3, kAhead>(neurons, nodes, x + t, ahead + t, logits + t, kStride);
  }
  if (t < count) LogitsTile<1, 3, kAhead>(neurons, nodes, x + t, ahead + t, logits + t, kStride);
}

inline void TreeLogitsF32(const PackedNeurons& neurons, size_t node, const void* const* x, const void* const* ahead,
                          size_t count, float* logits) {
  const float* const* rows = reinterpret_cast<const float* const*>(x);
  const float* const* ahead_rows = reinterpret_cast<const float* const*>(ahead);
  if (ahead) {
    LogitsRows<true>(neurons, node, rows, ahead_rows, count, logits);
  } else {
    LogitsRows<false>(neurons, node, rows, rows, count, logits);
  }
}

inline void TreeLogitsOfThreeF32(const PackedNeurons& neurons, size_t node, size_t left, const void* const* x,
                                 const void* const* ahead, size_t count, float* logits) {
  const float* const* rows = reinterpret_cast<const float* const*>(x);
  const float* const* ahead_rows = reinterpret_cast<const float* const*>(ahead);
  const size_t nodes[] = {node, left, left + 1};
  if (ahead) {
    LogitsOfThreeRows<true>(neurons, nodes, rows, ahead_rows, count, logits);
  } else {
    LogitsOfThreeRows<false>(neurons, nodes, rows, rows, count, logits);
  }
}

// The rows of a path.
struct PathRows {
  static constexpr size_t kMost = 128;  // levels, twice if two-sided
  const float* rows[kMost];
  size_t count = 0;
};

template <size_t kTokens, size_t kVecs>
HWY_INLINE void OutputsTile(const PathRows& path, const float* const* terms, TreeArithmetic::Into into, size_t column,
                            float* const* y) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec sum[kTokens][kVecs];
  HWY_UNROLL(8)
  for (size_t t = 0; t < kTokens; ++t) {
    HWY_UNROLL(8)
    for (size_t v = 0; v < kVecs; ++v)
      sum[t][v] = into != TreeArithmetic::Into::kSum ? hn::Zero(d) : hn::LoadU(d, y[t] + column + v * lanes);
  }
  for (size_t i = 0; i < path.count; ++i) {
    FloatVec row[kVecs];
    HWY_UNROLL(8)
    for (size_t v = 0; v < kVecs; ++v) row[v] = hn::LoadU(d, path.rows[i] + column + v * lanes);
    HWY_UNROLL(8)
    for (size_t t = 0; t < kTokens; ++t) {
      const FloatVec scale = hn::Set(d, terms[t][i]);
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
HWY_INLINE void OutputsRow(const PathRows& path, const float* const* terms, TreeArithmetic::Columns columns,
                           TreeArithmetic::Into into, float* const* y) {
  const size_t lanes = hn::Lanes(FloatTag());
  size_t column = columns.begin;
  for (; column + kOutputVecs * lanes <= columns.end; column += kOutputVecs * lanes) {
    OutputsTile<kTokens, kOutputVecs>(path, terms, into, column, y);
  }
  for (; column < columns.end; column += lanes) OutputsTile<kTokens, 1>(path, terms, into, column, y);
}

// Term by term: right then left of each level, so that a chain does not depend on how many levels there are.
inline void TreeTermsF32(const NeuronsShape& shape, const float* logits, size_t levels, float* terms) {
  HWY_ALIGN float right[PathRows::kMost], left[PathRows::kMost];
  const size_t padded = RoundUpToLine<float>(levels);
  ActivateRow(shape.activation, logits, right, padded);
  if (!shape.two_sided) {
    std::copy_n(right, levels, terms);
    return;
  }
  ActivateNegatedRow(shape.activation, logits, left, padded);
  for (size_t l = 0; l < levels; ++l) terms[2 * l] = right[l], terms[2 * l + 1] = left[l];
}

inline void TreeOutputsF32(const PackedNeurons& neurons, const uint32_t* nodes, size_t levels,
                           const float* const* terms, size_t count, TreeArithmetic::Columns columns,
                           TreeArithmetic::Into into, float* const* y) {
  PathRows path;
  for (size_t l = 0; l < levels; ++l) {
    path.rows[path.count++] = neurons.out(nodes[l]);
    if (neurons.shape().two_sided) path.rows[path.count++] = neurons.out_left(nodes[l]);
  }
  size_t t = 0;
  for (; t + kOutputTokens <= count; t += kOutputTokens) {
    OutputsRow<kOutputTokens>(path, terms + t, columns, into, y + t);
  }
  switch (count - t) {
    case 3:
      return OutputsRow<3>(path, terms + t, columns, into, y + t);
    case 2:
      return OutputsRow<2>(path, terms + t, columns, into, y + t);
    case 1:
      return OutputsRow<1>(path, terms + t, columns, into, y + t);
    default:
      return;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_TREE_ROWS_F32_INL_H_
