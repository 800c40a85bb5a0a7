// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grove/quant/rows_portable.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target:
#include "grove/kernels/target.h"
#include "grove/quant/rows_portable-inl.h"

#if HWY_ONCE
namespace grove {
namespace {
HWY_EXPORT(HasAvx2);
HWY_EXPORT(HasAvx512);
HWY_EXPORT(PortableInt8Block);
HWY_EXPORT(PortableInt8Dots);
HWY_EXPORT(PortableInt8Outputs);
}  // namespace

const RowKernels& PortableRowKernels() {
  static const RowKernels kernels{
      "portable",
      128,
      WidenedBf16Logits,
      WidenedBf16LogitsOfThree,
      WidenedBf16Outputs,
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableInt8Dots)
        (arguments...);
      },
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableInt8Outputs)
        (arguments...);
      },
      WidenedBf16Block,
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableInt8Block)
        (arguments...);
      },
  };
  return kernels;
}

static const RowKernels* WithWidenedBlock(RowKernels kernels) {
  kernels.name = "AVX512-VNNI, blocks of bf16 as floats";
  kernels.bf16_block = WidenedBf16Block;
  static const RowKernels kept = kernels;
  return &kept;
}

const RowKernels& RowKernelsFor() {
  static const RowKernels* const avx512 = Avx512RowKernels();
  static const RowKernels* const avx2 = Avx2RowKernels();
  static const RowKernels* const amx = AmxRowKernels();
  if (amx && ActiveTargetHasTiles()) return *amx;
  static const RowKernels* const with_widened = avx512 ? WithWidenedBlock(*avx512) : nullptr;
  if (avx512 && HWY_DYNAMIC_DISPATCH(HasAvx512)()) return ActiveTargetMultipliesBf16() ? *avx512 : *with_widened;
  return avx2 && HWY_DYNAMIC_DISPATCH(HasAvx2)() ? *avx2 : PortableRowKernels();
}

}  // namespace grove
#endif  // HWY_ONCE
