// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Decisions of leaf trees in vectors, compiled once per target: logits of several tokens and nodes at once, and the
// logarithms of both turns. The sum of a logit has one order, however many tokens and nodes share a call.

#include <algorithm>

#include "grove/kernels/exact_exp-inl.h"
#include "grove/kernels/leaf_router.h"
#include "grove/kernels/simd-inl.h"
#include "hwy/cache_control.h"

#if defined(GROVE_KERNELS_LEAF_DECISIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_KERNELS_LEAF_DECISIONS_INL_H_
#undef GROVE_KERNELS_LEAF_DECISIONS_INL_H_
#else
#define GROVE_KERNELS_LEAF_DECISIONS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// A tile's sums, its tokens and a row of weights must fit the 16 (AVX2) or 32 (AVX-512) vector registers. One sum a
// logit: a tile has enough of them to hide the latency of their products.
inline constexpr size_t kDecisionTokens = HWY_MAX_BYTES >= 64 ? 4 : 2;
inline constexpr size_t kDecisionNodes = 6;

// Decision nodes, and where their logits go: logits[t][n] = rows[n] . x[t] + biases[n].
struct Decisions {
  const float* const* rows;
  const float* biases;
  size_t nodes;
};

// Not inlined: among the caller's variables the rows' addresses would not stay in registers.
template <size_t kTokens, size_t kNodes>
HWY_NOINLINE void DecisionTile(const Decisions& decisions, size_t first, const float* const* x, size_t size,
                               float* const* logits) {
  const FloatTag d;
  const float* const* w = decisions.rows + first;
  FloatVec sum[kTokens][kNodes];
  HWY_UNROLL(8)
  for (size_t t = 0; t < kTokens; ++t) {
    HWY_UNROLL(8)
    for (size_t n = 0; n < kNodes; ++n) sum[t][n] = hn::Zero(d);
  }
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
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
      for (size_t t = 0; t < kTokens; ++t) sum[t][n] = hn::MulAdd(row, token[t], sum[t][n]);
    }
  }
  HWY_UNROLL(8)
  for (size_t t = 0; t < kTokens; ++t) {
    HWY_UNROLL(8)
    for (size_t n = 0; n < kNodes; ++n) {
      logits[t][first + n] = hn::GetLane(hn::SumOfLanes(d, sum[t][n])) + decisions.biases[first + n];
    }
  }
}

template <size_t kTokens>
HWY_INLINE void DecisionRow(const Decisions& decisions, const float* const* x, size_t size, float* const* logits) {
  size_t n = 0;
  for (; n + kDecisionNodes <= decisions.nodes; n += kDecisionNodes) {
    DecisionTile<kTokens, kDecisionNodes>(decisions, n, x, size, logits);
  }
  for (; n + 3 <= decisions.nodes; n += 3) DecisionTile<kTokens, 3>(decisions, n, x, size, logits);
  for (; n < decisions.nodes; ++n) DecisionTile<kTokens, 1>(decisions, n, x, size, logits);
}

// Of all tokens and nodes.
HWY_INLINE void DecisionLogits(const Decisions& decisions, const float* const* x, size_t tokens, size_t size,
                               float* const* logits) {
  size_t t = 0;
  for (; t + kDecisionTokens <= tokens; t += kDecisionTokens) {
    DecisionRow<kDecisionTokens>(decisions, x + t, size, logits + t);
  }
  if (kDecisionTokens > 3 && tokens - t == 3) return DecisionRow<3>(decisions, x + t, size, logits + t);
  if (kDecisionTokens > 2 && tokens - t == 2) return DecisionRow<2>(decisions, x + t, size, logits + t);
  if (t < tokens) DecisionRow<1>(decisions, x + t, size, logits + t);
}

// A single logit, with the same bits.
HWY_INLINE float DecisionLogit(const float* x, const float* w, float bias, size_t size) {
  float logit;
  float* const target = &logit;
  DecisionTile<1, 1>({&w, &bias, 1}, 0, &x, size, &target);
  return logit;
}

HWY_INLINE void PrefetchDecision(const float* row, size_t size) {
  for (size_t i = 0; i < size; i += kCacheLineBytes / sizeof(float)) hwy::Prefetch(row + i);
}

// Natural logarithms of sigmoid(z) and sigmoid(-z), z = scale * logits[i]; neither is above 0. `count` is a multiple of
// 16.
HWY_INLINE void LogTurns(const float* logits, float scale, size_t count, float* right, float* left) {
  const FloatTag d;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) {
    const FloatVec z = hn::Mul(hn::Set(d, scale), hn::LoadU(d, logits + i));
    const FloatVec uncertain = ExactLog1p(ExactExp(hn::Neg(hn::Abs(z))));
    hn::StoreU(hn::Sub(hn::Min(z, hn::Zero(d)), uncertain), d, right + i);
    hn::StoreU(hn::Sub(hn::Min(hn::Neg(z), hn::Zero(d)), uncertain), d, left + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_LEAF_DECISIONS_INL_H_
