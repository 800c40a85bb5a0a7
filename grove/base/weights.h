// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The weights of products in one of three precisions, as they lie in a model's file and before they are packed.
//
// Whatever their layout, they are seen as [groups, depth, columns], where the products' sums go over `depth`. An int8
// weight is worth its value times the scale of its group and column:
//
//     a dense layer   [out, in]                  {groups = out, depth = in, columns = 1}, a scale for each output
//     nets of leaves  [leaves, in, out]          {leaves, in, out}, a scale for each leaf and output
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "grove/base/aligned.h"
#include "grove/base/bf16.h"

namespace grove {

// Of weights and inputs. Sums are fp32, of int8 exact integers.
enum class Precision { kBf16, kFp32, kInt8 };

constexpr std::string_view PrecisionName(Precision precision) {
  return precision == Precision::kBf16 ? "bf16" : precision == Precision::kInt8 ? "int8" : "fp32";
}

struct WeightsShape {
  size_t groups = 0, depth = 0, columns = 1;
  size_t size() const { return groups * depth * columns; }
  size_t scales() const { return groups * columns; }
};

// Not owned; of the pointers those of the precision are set.
struct WeightsView {
  Precision precision = Precision::kFp32;
  const float* fp32 = nullptr;
  const Bf16* bf16 = nullptr;
  const int8_t* int8 = nullptr;   // -127 ... 127
  const float* scales = nullptr;  // of int8: [groups, columns]

  WeightsView() = default;
  WeightsView(const float* values) : fp32(values) {}  // NOLINT(google-explicit-constructor): floats are weights

  // Of a dense layer [out, in]: without its first rows.
  WeightsView RowsFrom(size_t row, size_t in) const {
    WeightsView rest = *this;
    if (fp32 != nullptr) rest.fp32 += row * in;
    if (bf16 != nullptr) rest.bf16 += row * in;
    if (int8 != nullptr) rest.int8 += row * in, rest.scales += row;
    return rest;
  }
};

struct Weights {
  Precision precision = Precision::kFp32;
  AlignedArray<float> fp32;  // one of the three
  AlignedArray<Bf16> bf16;
  AlignedArray<int8_t> int8;
  AlignedArray<float> scales;  // with int8

  bool empty() const { return fp32.size() + bf16.size() + int8.size() == 0; }
  WeightsView view() const {
    WeightsView view;
    view.precision = precision;
    view.fp32 = fp32.data();
    view.bf16 = bf16.data();
    view.int8 = int8.data();
    view.scales = scales.data();
    return view;
  }
};

}  // namespace grove
