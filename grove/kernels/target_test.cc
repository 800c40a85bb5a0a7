// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

namespace grove {
namespace {

TEST(Target, EveryAvailableOneCanBeForced) {
  const std::vector<std::string> available = AvailableTargets();
  ASSERT_FALSE(available.empty());
  for (const std::string& name : available) {
    ASSERT_TRUE(ForceTarget(name).ok()) << name;
    EXPECT_EQ(ActiveTarget(), name);
    EXPECT_EQ(AvailableTargets(), available) << "forcing must not hide what the machine has";
  }
  ASSERT_TRUE(ForceTarget("best").ok());
  EXPECT_EQ(ActiveTarget(), available.front());
}

TEST(Target, NamesAreCaseInsensitive) {
  std::string name = AvailableTargets().back();
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  EXPECT_TRUE(ForceTarget(name).ok());
  EXPECT_TRUE(ForceTarget("").ok());
}

TEST(Target, UnknownNameIsAnErrorThatListsTheChoices) {
  const Status status = ForceTarget("AVX9");
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message().find("AVX9"), std::string::npos);
  EXPECT_NE(status.error().message().find(AvailableTargets().front()), std::string::npos);
}

// Kernels ask at every call, where a question to the processor itself would cost more than their work.
TEST(Target, IsAskedInNanoseconds) {
  constexpr int kQuestions = 10'000;
  double least = 1;  // seconds, of five tries: the machine may be busy
  for (int attempt = 0; attempt < 5; ++attempt) {
    const auto begin = std::chrono::steady_clock::now();
    int yes = 0;
    for (int i = 0; i < kQuestions; ++i) yes += ActiveTargetMultipliesBf16() + ActiveTargetHasTiles();
    EXPECT_EQ(yes % kQuestions, 0);
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  EXPECT_LT(least / kQuestions, 2e-6);
}

}  // namespace
}  // namespace grove
