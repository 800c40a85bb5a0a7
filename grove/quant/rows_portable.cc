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
HWY_EXPORT(PortableBf16Block);
HWY_EXPORT(PortableBf16Logits);
HWY_EXPORT(PortableBf16LogitsOfThree);
HWY_EXPORT(PortableBf16Outputs);
HWY_EXPORT(PortableInt8Block);
HWY_EXPORT(PortableInt8Dots);
HWY_EXPORT(PortableInt8Outputs);
}  // namespace

const RowKernels& PortableRowKernels() {
  static const RowKernels kernels{
      "portable",
      128,
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableBf16Logits)
        (arguments...);
      },
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableBf16LogitsOfThree)
        (arguments...);
      },
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableBf16Outputs)
        (arguments...);
      },
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableInt8Dots)
        (arguments...);
      },
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableInt8Outputs)
        (arguments...);
      },
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableBf16Block)
        (arguments...);
      },
      [](auto... arguments) {
        HWY_DYNAMIC_DISPATCH(PortableInt8Block)
        (arguments...);
      },
  };
  return kernels;
}

const RowKernels& RowKernelsFor() {
  static const RowKernels* const avx512 = Avx512RowKernels();
  static const RowKernels* const avx2 = Avx2RowKernels();
  static const RowKernels* const amx = AmxRowKernels();
  if (amx && ActiveTargetHasTiles()) return *amx;
  if (avx512 && HWY_DYNAMIC_DISPATCH(HasAvx512)()) return *avx512;
  return avx2 && HWY_DYNAMIC_DISPATCH(HasAvx2)() ? *avx2 : PortableRowKernels();
}

}  // namespace grove
#endif  // HWY_ONCE
