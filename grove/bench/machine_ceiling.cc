// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/machine_ceiling.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/clock.h"

namespace grove::bench {
namespace {

// Each thread multiplies on its own: 96 rows, 256 -> 256.
double BestFlops(Precision precision, ThreadPool& pool) {
  constexpr size_t kRows = 96, kWidth = 256, kRepeats = 40;
  const std::vector<float> weights(kWidth * kWidth, 0.01f), x(kRows * kWidth, 1.0f);
  ThreadPool alone(1);
  const DenseProduct product({.in = kWidth, .out = kWidth, .precision = precision}, weights.data(), nullptr, alone);
  std::vector<std::vector<float>> y(pool.threads(), std::vector<float>(kRows * kWidth));
  double best = 0;
  for (int round = 0; round < 12; ++round) {
    const double start = NowSeconds();
    pool.ParallelFor(pool.threads(), 1, [&](size_t begin, size_t end) {
      ThreadPool here(1);
      for (size_t t = begin; t < end; ++t) {
        for (size_t i = 0; i < kRepeats; ++i) product.Forward(x.data(), kRows, y[t].data(), here);
      }
    });
    const double flops = 2.0 * kRows * kWidth * kWidth * kRepeats * static_cast<double>(pool.threads());
    best = std::max(best, flops / (NowSeconds() - start));
  }
  return best;
}

double BestRead(ThreadPool& pool) {
  constexpr size_t kFloats = size_t{48} << 20, kPiece = size_t{1} << 16;
  AlignedArray<float> array(kFloats);
  std::vector<float> sums(kFloats / kPiece);
  double best = 0;
  for (int round = 0; round < 4; ++round) {
    const double start = NowSeconds();
    pool.ParallelFor(sums.size(), 8, [&](size_t begin, size_t end) {
      for (size_t piece = begin; piece < end; ++piece) {
        float lanes[64] = {};
        const float* values = array.data() + piece * kPiece;
        for (size_t i = 0; i < kPiece; i += 64) {
          for (size_t l = 0; l < 64; ++l) lanes[l] += values[i + l];
        }
        sums[piece] = std::accumulate(lanes, lanes + 64, 0.0f);
      }
    });
    best = std::max(best, static_cast<double>(kFloats) * sizeof(float) / (NowSeconds() - start));
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0f) == 0.0f ? best : 0.0;
}

}  // namespace

MachineCeiling MeasureCeiling(Precision precision, ThreadPool& pool) {
  return {BestFlops(precision, pool), BestRead(pool)};
}

double RooflineSeconds(const MachineCeiling& ceiling, double flops, double bytes) {
  return std::max(flops / ceiling.flops_per_second, bytes / ceiling.bytes_per_second);
}

}  // namespace grove::bench
