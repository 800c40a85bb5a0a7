// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/quant/exact_activation.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/quant/exact_activation-inl.h"

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(ActivateArray);
HWY_EXPORT(AddGatedLoop);
HWY_EXPORT(AddGatedSumsLoop);
HWY_EXPORT(AddLoop);
HWY_EXPORT(QuantizeLoop);
HWY_EXPORT(RoundLoop);
HWY_EXPORT(ScaleLoop);
HWY_EXPORT(ScaleTileRows);
}  // namespace

void ExactActivate(Activation activation, float sign, const float* x, size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(ActivateArray)(activation, sign, x, count, out);
}

float QuantizeRow(const float* x, size_t count, int8_t* q) { return HWY_DYNAMIC_DISPATCH(QuantizeLoop)(x, count, q); }

void RoundRow(const float* x, size_t count, uint16_t* rounded) { HWY_DYNAMIC_DISPATCH(RoundLoop)(x, count, rounded); }

void ScaleSums(const int32_t* sums, const SumScales& scales, size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(ScaleLoop)(sums, scales, count, out);
}

void ScaleTile(const SumsTile& tile, const SumScales& scales) { HWY_DYNAMIC_DISPATCH(ScaleTileRows)(tile, scales); }

void AddRow(const float* x, size_t count, float* y) { HWY_DYNAMIC_DISPATCH(AddLoop)(x, count, y); }

void AddGated(const GatedBlock& block, const float* products, const float* bias) {
  HWY_DYNAMIC_DISPATCH(AddGatedLoop)(block, products, bias);
}

void AddGated(const GatedBlock& block, const int32_t* sums, const SumScales& scales, const float* row_scales) {
  HWY_DYNAMIC_DISPATCH(AddGatedSumsLoop)(block, sums, scales, row_scales);
}

}  // namespace grove
#endif  // HWY_ONCE
