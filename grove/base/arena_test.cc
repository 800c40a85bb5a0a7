// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/base/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

namespace grove {
namespace {

TEST(Arena, PiecesAreAlignedAndApart) {
  Arena arena;
  for (int round = 0; round < 3; ++round) {
    const Arena::Scope scope(arena);
    char* a = arena.Take<char>(1);
    float* b = arena.Take<float>(100);
    char* c = arena.Take<char>(64);
    for (const void* piece : {static_cast<void*>(a), static_cast<void*>(b), static_cast<void*>(c)}) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % kCacheLineBytes, 0u);
    }
    std::memset(a, 1, 1);
    std::memset(b, 2, 400);
    std::memset(c, 3, 64);
    EXPECT_EQ(*a, 1);
    EXPECT_EQ(b[99], b[0]);
  }
}

TEST(Arena, HoldsWhatWasNeededAndGivesInnerScopesBack) {
  Arena arena;
  const float* first = nullptr;
  for (int round = 0; round < 3; ++round) {
    const Arena::Scope scope(arena);
    const float* kept = arena.Take<float>(16);
    for (int inner = 0; inner < 10; ++inner) {
      const Arena::Scope inside(arena);
      arena.Take<float>(1000);
    }
    if (round == 1) first = kept;
    if (round == 2) {
      EXPECT_EQ(kept, first);
    }
  }
  EXPECT_EQ(arena.bytes(), 64u + 4032u);
}

}  // namespace
}  // namespace grove
