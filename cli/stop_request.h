// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <cstddef>

namespace grove::cli {

// While it lives, Ctrl-C and termination ask the work to end in order, with a checkpoint; a second signal ends it at
// once.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  static bool Pending();
  // After the work has ended in order: the signal once more, for the framework's handler, its word and its exit code.
  static void RaiseAgain();

 private:
  static constexpr size_t kSignals = 2;
  void (*previous_[kSignals])(int);
};

}  // namespace grove::cli
