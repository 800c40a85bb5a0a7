// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Conditions that only a bug of ours can break: print and abort. Never for a user's input (base/result.h).
#pragma once

#include <cstdio>
#include <cstdlib>

namespace grove::internal {
[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}
}  // namespace grove::internal

#define GROVE_CHECK(condition)                                        \
  do {                                                                \
    if (!(condition)) [[unlikely]] {                                  \
      ::grove::internal::CheckFailed(__FILE__, __LINE__, #condition); \
    }                                                                 \
  } while (false)

#ifdef NDEBUG
#define GROVE_DCHECK(condition) static_cast<void>(0)
#else
#define GROVE_DCHECK(condition) GROVE_CHECK(condition)
#endif
