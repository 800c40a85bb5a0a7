// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Times several contenders so that a noisy machine is unfair to none: round after round, every contender once in turn;
// the median of many rounds counts.
//
//   std::vector<Timing> t = TimeInterleaved({{[&](size_t round) { A(round); }}, {...}}, {.seconds = 1});
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace grove::bench {

struct Contender {
  std::function<void(size_t round)> run;           // `round` lets it take fresh input every time
  std::function<void(size_t round)> prepare = {};  // before it, not timed
};

struct InterleaveOptions {
  double seconds = 1.0;   // wanted for each contender, preparing included; decides the number of rounds
  size_t min_rounds = 5;  // kept even if they take longer
  size_t max_rounds = 2000;
};

// Seconds of one run.
struct Timing {
  double median = 0;
  double low = 0, high = 0;  // 10th and 90th percentile
  size_t rounds = 0;
};

// One round warms up and is not counted. The slowest contender decides how many rounds fit.
std::vector<Timing> TimeInterleaved(const std::vector<Contender>& contenders, const InterleaveOptions& options);

}  // namespace grove::bench
