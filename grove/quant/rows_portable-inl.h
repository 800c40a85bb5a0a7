// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The products of row_kernels.h in plain loops over 16 lanes, which the compiler turns into vectors: compiled once for
// every instruction set that Highway knows.

#include <algorithm>
#include <bit>

#include "grove/quant/row_kernels.h"
#include "hwy/highway.h"

#if defined(GROVE_QUANT_ROWS_PORTABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GROVE_QUANT_ROWS_PORTABLE_INL_H_
#undef GROVE_QUANT_ROWS_PORTABLE_INL_H_
#else
#define GROVE_QUANT_ROWS_PORTABLE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace grove {
namespace HWY_NAMESPACE {

// Of the instruction set that is active: asking it costs nothing, asking the processor much.
inline bool HasAvx512() { return HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL; }
inline bool HasAvx2() { return HWY_TARGET == HWY_AVX2 || HasAvx512(); }

HWY_INLINE float Bf16Value(uint32_t bits) { return std::bit_cast<float>(bits << 16); }

HWY_INLINE float Bf16Dot(const uint16_t* HWY_RESTRICT w, const uint16_t* HWY_RESTRICT x, size_t row) {
  float sum[16] = {};
  for (size_t i = 0; i < row; i += 16) {
    for (size_t j = 0; j < 16; ++j) sum[j] += Bf16Value(w[i + j]) * Bf16Value(x[i + j]);
  }
  for (size_t half = 8; half > 0; half /= 2) {
    for (size_t j = 0; j < half; ++j) sum[j] += sum[j + half];
  }
  return sum[0];
}

inline void PortableBf16Logits(const uint16_t* w, float bias, size_t row, const uint16_t* const* x, const void* const*,
                               size_t count, float* logits) {
  for (size_t i = 0; i < count; ++i) logits[i] = Bf16Dot(w, x[i], row) + bias;
}

inline void PortableInt8Dots(const int8_t* w, size_t row, const uint8_t* const* x, const void* const*, size_t count,
                             int32_t* dots) {
  for (size_t t = 0; t < count; ++t) {
    const uint8_t* HWY_RESTRICT xt = x[t];
    int32_t sum = 0;
    for (size_t i = 0; i < row; ++i) sum += int16_t{w[i]} * int16_t{xt[i]};
    dots[t] = sum;
  }
}

inline void PortableBf16Outputs(const uint16_t* const* rows, size_t pairs, const uint32_t* const* scales,
                                Columns columns, size_t count, Into into, float* const* y) {
  for (size_t t = 0; t < count; ++t) {
    for (size_t c = columns.begin; c < columns.end; c += 16) {
      float sum[16] = {};
      if (into == Into::kSum) std::copy_n(y[t] + c, 16, sum);
      const size_t first = OutPosition(c, 2);
      for (size_t level = 0; level < 2 * pairs; ++level) {
        const float scale = Bf16Value(scales[t][level / 2] >> (level % 2 * 16) & 0xFFFF);
        const uint16_t* HWY_RESTRICT values = rows[level] + first;
        for (size_t i = 0; i < 4; ++i) {
          for (size_t j = 0; j < 4; ++j) sum[4 * i + j] += scale * Bf16Value(values[8 * i + j]);
        }
      }
      std::copy_n(sum, 16, y[t] + c);
    }
  }
}

inline void PortableInt8Outputs(const int8_t* const* rows, size_t quads, const uint32_t* const* values,
                                const float* scales, Columns columns, size_t count, Into into, float* const* y) {
  for (size_t t = 0; t < count; ++t) {
    for (size_t c = columns.begin; c < columns.end; c += 16) {
      int32_t sum[16] = {};
      const size_t first = OutPosition(c, 4);
      for (size_t level = 0; level < 4 * quads; ++level) {
        const auto byte = static_cast<int8_t>(values[t][level / 4] >> (level % 4 * 8));
        const int32_t value = byte;  // NOLINT(bugprone-signed-char-misuse): the byte is a signed number
        const int8_t* HWY_RESTRICT weights = rows[level] + first;
        for (size_t i = 0; i < 4; ++i) {
          for (size_t j = 0; j < 4; ++j) sum[4 * i + j] += value * weights[16 * i + j];
        }
      }
      for (size_t j = 0; j < 16; ++j) {
        const float share = scales[t] * static_cast<float>(sum[j]);
        y[t][c + j] = into == Into::kSum ? y[t][c + j] + share : share;
      }
    }
  }
}

inline void PortableInt8Block(const uint8_t* const* a, size_t rows, size_t groups, const int8_t* b, size_t columns,
                              int32_t* c) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t n = 0; n < columns; n += 16) {
      int32_t sum[16] = {};
      for (size_t g = 0; g < groups; ++g) {
        const uint8_t* HWY_RESTRICT value = a[r] + 4 * g;
        const int8_t* HWY_RESTRICT weights = b + 4 * (g * columns + n);
        for (size_t j = 0; j < 16; ++j) {
          for (size_t i = 0; i < 4; ++i) sum[j] += value[i] * weights[4 * j + i];
        }
      }
      std::copy_n(sum, 16, c + r * columns + n);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace grove
HWY_AFTER_NAMESPACE();

#endif  // GROVE_QUANT_ROWS_PORTABLE_INL_H_
