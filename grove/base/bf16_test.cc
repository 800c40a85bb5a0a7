// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/base/bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace grove {
namespace {

TEST(Bf16, RoundsToNearestTiesToEven) {
  EXPECT_EQ(ToFloat(ToBf16(1.0f)), 1.0f);
  EXPECT_EQ(ToFloat(ToBf16(1.0f + 1.0f / 256)), 1.0f);               // halfway: down to even
  EXPECT_EQ(ToFloat(ToBf16(1.0f + 3.0f / 256)), 1.0f + 4.0f / 256);  // halfway: up to even
  EXPECT_EQ(ToFloat(ToBf16(-2.5f)), -2.5f);
}

TEST(Bf16, KeepsSpecialValues) {
  EXPECT_TRUE(std::isinf(ToFloat(ToBf16(std::numeric_limits<float>::infinity()))));
  EXPECT_TRUE(std::isnan(ToFloat(ToBf16(std::numeric_limits<float>::signaling_NaN()))));
  EXPECT_TRUE(std::isinf(ToFloat(ToBf16(std::numeric_limits<float>::max()))));  // rounds up past the largest bf16
}

}  // namespace
}  // namespace grove
