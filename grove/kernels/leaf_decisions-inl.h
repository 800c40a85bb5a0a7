// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Decisions of leaf trees in vectors, compiled once per target: logits of several tokens and nodes at once, and the
// logarithms of both turns. The sum of a logit has one order, however many tokens and nodes share a call.

#include <algorithm>

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

// Two sums a logit: enough for the latency of a few logits at once, few enough for a tile in registers.
inline constexpr size_t kDecisionTokens = HWY_MAX_BYTES >= 64 ? 4 : 2;
inline constexpr size_t kDecisionNodes = 3;

// logits[t * stride + n] = w[n] . x[t], without biases.
template <size_t kTokens, size_t kNodes>
HWY_INLINE void DecisionTile(const float* const* x, const float* const* w, size_t size, float* logits, size_t stride) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec sum[kTokens][kNodes][2];
  HWY_UNROLL(8)
  for (size_t t = 0; t < kTokens; ++t) {
    HWY_UNROLL(8)
    for (size_t n = 0; n < kNodes; ++n) sum[t][n][0] = sum[t][n][1] = hn::Zero(d);
  }
  const auto add = [&](size_t i, size_t part) HWY_ATTR {
    FloatVec row[kNodes];
    HWY_UNROLL(8)
    for (size_t n = 0; n < kNodes; ++n) row[n] = hn::LoadU(d, w[n] + i);
    HWY_UNROLL(8)
    for (size_t t = 0; t < kTokens; ++t) {
      const FloatVec token = hn::LoadU(d, x[t] + i);
      HWY_UNROLL(8)
      for (size_t n = 0; n < kNodes; ++n) sum[t][n][part] = hn::MulAdd(row[n], token, sum[t][n][part]);
    }
  };
  size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    add(i, 0);
    add(i + lanes, 1);
  }
  if (i < size) add(i, 0);
  HWY_UNROLL(8)
  for (size_t t = 0; t < kTokens; ++t) {
    HWY_UNROLL(8)
    for (size_t n = 0; n < kNodes; ++n) {
      logits[t * stride + n] = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum[t][n][0], sum[t][n][1])));
    }
  }
}

template <size_t kNodes>
HWY_INLINE void DecisionColumn(const float* const* x, size_t tokens, const float* const* w, size_t size, float* logits,
                               size_t stride) {
  size_t t = 0;
  for (; t + kDecisionTokens <= tokens; t += kDecisionTokens) {
    DecisionTile<kDecisionTokens, kNodes>(x + t, w, size, logits + t * stride, stride);
  }
  for (; t < tokens; ++t) DecisionTile<1, kNodes>(x + t, w, size, logits + t * stride, stride);
}

// logits[t * stride + n] = w[n] . x[t] for all tokens and nodes.
HWY_INLINE void DecisionProducts(const float* const* x, size_t tokens, const float* const* w, size_t nodes, size_t size,
                                 float* logits, size_t stride) {
  size_t n = 0;
  for (; n + kDecisionNodes <= nodes; n += kDecisionNodes) {
    DecisionColumn<kDecisionNodes>(x, tokens, w + n, size, logits + n, stride);
  }
  for (; n < nodes; ++n) DecisionColumn<1>(x, tokens, w + n, size, logits + n, stride);
}

// A single logit, with the same bits.
HWY_INLINE float DecisionProduct(const float* x, const float* w, size_t size) {
  float logit;
  DecisionTile<1, 1>(&x, &w, size, &logit, 1);
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
    const FloatVec uncertain = hn::Log1p(d, hn::Exp(d, hn::Neg(hn::Abs(z))));
    hn::StoreU(hn::Sub(hn::Min(z, hn::Zero(d)), uncertain), d, right + i);
    hn::StoreU(hn::Sub(hn::Min(hn::Neg(z), hn::Zero(d)), uncertain), d, left + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_KERNELS_LEAF_DECISIONS_INL_H_
