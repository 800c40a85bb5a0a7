// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/interleave.h"

#include <algorithm>
#include <cmath>

#include "grove/base/clock.h"

namespace grove::bench {
namespace {

double TimeOnce(const Contender& contender, size_t round) {
  const double start = NowSeconds();
  contender.run(round);
  return NowSeconds() - start;
}

Timing Summarize(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto quantile = [&](double q) {
    return seconds[static_cast<size_t>(std::lround(q * static_cast<double>(seconds.size() - 1)))];
  };
  return {quantile(0.5), quantile(0.1), quantile(0.9), seconds.size()};
}

}  // namespace

std::vector<Timing> TimeInterleaved(const std::vector<Contender>& contenders, const InterleaveOptions& options) {
  const auto prepare = [](const Contender& contender, size_t round) {
    if (contender.prepare) contender.prepare(round);
  };
  double slowest = 0;
  for (const Contender& contender : contenders) {
    const double start = NowSeconds();
    prepare(contender, 0);
    contender.run(0);
    slowest = std::max(slowest, NowSeconds() - start);
  }
  const double fitting = options.seconds / std::max(slowest, 1e-9);
  const size_t rounds = static_cast<size_t>(
      std::clamp(fitting, static_cast<double>(options.min_rounds), static_cast<double>(options.max_rounds)));
  std::vector<std::vector<double>> seconds(contenders.size());
  for (size_t round = 1; round <= rounds; ++round) {
    for (size_t c = 0; c < contenders.size(); ++c) {
      prepare(contenders[c], round);
      seconds[c].push_back(TimeOnce(contenders[c], round));
    }
  }
  std::vector<Timing> timings;
  timings.reserve(seconds.size());
  for (std::vector<double>& s : seconds) timings.push_back(Summarize(std::move(s)));
  return timings;
}

}  // namespace grove::bench
