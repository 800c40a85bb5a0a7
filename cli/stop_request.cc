// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/stop_request.h"

#include <atomic>
#include <csignal>

namespace grove::cli {
namespace {

std::atomic<int> stop_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);  // a signal handler may store it

constexpr int kStopSignals[] = {SIGINT, SIGTERM};

}  // namespace

StopRequest::StopRequest() {
  for (size_t i = 0; i < kSignals; ++i) {
    previous_[i] = std::signal(kStopSignals[i], [](int signal) {
      stop_signal = signal;
      std::signal(signal, SIG_DFL);
    });
    if (previous_[i] == SIG_IGN) std::signal(kStopSignals[i], SIG_IGN);
  }
}

StopRequest::~StopRequest() {
  for (size_t i = 0; i < kSignals; ++i) std::signal(kStopSignals[i], previous_[i]);
}

bool StopRequest::Pending() { return stop_signal != 0; }

void StopRequest::RaiseAgain() { std::raise(stop_signal); }

}  // namespace grove::cli
