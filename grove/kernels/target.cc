// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/target.h"

#include <hwy/highway.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cctype>

namespace grove {
namespace {

std::vector<std::string> Names(int64_t targets) {
  std::vector<std::string> names;
  for (int bit = 0; bit < 63; ++bit) {  // Highway's lower bits are the better targets
    const int64_t target = int64_t{1} << bit;
    if (targets & target) names.emplace_back(hwy::TargetName(target));
  }
  return names;
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::toupper(x) == std::toupper(y); });
}

std::string Join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// What the machine has, whatever is forced now: read once, before anything is forced.
int64_t Available() {
  static const int64_t available = HWY_TARGETS & hwy::SupportedTargets();
  return available;
}

}  // namespace

std::vector<std::string> CompiledTargets() { return Names(HWY_TARGETS); }

std::vector<std::string> AvailableTargets() { return Names(Available()); }

std::string ActiveTarget() {
  const int64_t usable = Available() & hwy::SupportedTargets();
  return hwy::TargetName(usable & -usable);
}

Status ForceTarget(std::string_view name) {
  int64_t chosen = 0;  // 0 lifts the restriction
  const int64_t available = Available();
  if (!name.empty() && !EqualIgnoringCase(name, "best")) {
    for (int bit = 0; bit < 63; ++bit) {
      const int64_t target = int64_t{1} << bit;
      if ((available & target) && EqualIgnoringCase(name, hwy::TargetName(target))) chosen = target;
    }
    if (chosen == 0) {
      return Error(ErrorCode::kInvalidArgument, "no instruction set '" + std::string(name) +
                                                    "' on this machine; use one of " + Join(Names(available)));
    }
  }
  hwy::SetSupportedTargetsForTest(chosen);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return Ok{};
}

}  // namespace grove
