// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/quantized_ceiling.h"

#include <algorithm>
#include <vector>

#include "grove/base/aligned.h"
#include "grove/base/clock.h"
#include "grove/quant/row_kernels.h"

namespace grove::bench {
namespace {

// 96 rows, 256 -> 256.
constexpr size_t kRows = 96, kWidth = 256, kRepeats = 40;

struct Operands {
  AlignedArray<uint16_t> bf16{kRows * kWidth}, bf16_weights{kWidth * kWidth};
  AlignedArray<uint8_t> int8{kRows * kWidth};
  AlignedArray<int8_t> int8_weights{kWidth * kWidth};
  AlignedArray<float> sums{kRows * kWidth};
  AlignedArray<int32_t> int_sums{kRows * kWidth};

  void Multiply(const RowKernels& kernels, Quantization precision) {
    std::vector<const uint16_t*> floats;
    std::vector<const uint8_t*> integers;
    for (size_t r = 0; r < kRows; ++r) {
      floats.push_back(bf16.data() + r * kWidth);
      integers.push_back(int8.data() + r * kWidth);
    }
    for (size_t i = 0; i < kRepeats; ++i) {
      if (precision == Quantization::kBf16) {
        kernels.bf16_block(floats.data(), kRows, kWidth / 2, bf16_weights.data(), kWidth, sums.data());
      } else {
        kernels.int8_block(integers.data(), kRows, kWidth / 4, int8_weights.data(), kWidth, int_sums.data());
      }
    }
  }
};

}  // namespace

double QuantizedFlops(Quantization precision, ThreadPool& pool) {
  const RowKernels& kernels = RowKernelsFor();
  std::vector<Operands> operands(pool.threads());
  double best = 0;
  for (int round = 0; round < 12; ++round) {
    const double start = NowSeconds();
    pool.ParallelFor(pool.threads(), 1, [&](size_t begin, size_t end) {
      for (size_t t = begin; t < end; ++t) operands[t].Multiply(kernels, precision);
    });
    const double flops = 2.0 * kRows * kWidth * kWidth * kRepeats * static_cast<double>(pool.threads());
    best = std::max(best, flops / (NowSeconds() - start));
  }
  return best;
}

}  // namespace grove::bench
