// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/kernels/target.h"

#include <hwy/highway.h>
#include <hwy/targets.h>

#include <algorithm>
#include <atomic>
#include <cctype>

#if defined(__linux__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GROVE_AMX 1
#include <sys/syscall.h>
#include <unistd.h>
#else
#define GROVE_AMX 0
#endif

namespace grove {
namespace {

constexpr std::string_view kTilesName = "AVX3_AMX";

#if GROVE_AMX
// Linux gives a process the tile registers, 8 KiB of state a thread, only when it asks for them.
bool AskForTiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool MachineHasTiles() {
  static const bool present = (hwy::SupportedTargets() & HWY_AVX3) != 0 && __builtin_cpu_supports("avx512bf16") &&
                              __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("amx-tile") &&
                              __builtin_cpu_supports("amx-int8") && __builtin_cpu_supports("amx-bf16") && AskForTiles();
  return present;
}
#else
bool MachineHasTiles() { return false; }
#endif

std::atomic<bool> tiles_allowed{true};
std::atomic<int64_t> forced{0};  // the one target that is allowed; 0: all

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

// What may be used now. Kernels ask this at every call: hwy::SupportedTargets() asks the processor each time (cpuid),
// which takes 20 to 70 microseconds in a virtual machine.
int64_t Usable() {
  const int64_t only = forced.load(std::memory_order_relaxed);
  return only == 0 ? Available() : only;
}

std::vector<std::string> WithTiles(bool tiles, std::vector<std::string> names) {
  if (tiles) names.emplace(names.begin(), kTilesName);
  return names;
}

}  // namespace

std::vector<std::string> CompiledTargets() { return WithTiles(GROVE_AMX == 1, Names(HWY_TARGETS)); }

std::vector<std::string> AvailableTargets() {
  const int64_t available = Available();
  return WithTiles(MachineHasTiles(), Names(available));
}

bool ActiveTargetHasTiles() { return tiles_allowed.load(std::memory_order_relaxed) && MachineHasTiles(); }

bool ActiveTargetMultipliesBf16() {
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool fast = __builtin_cpu_supports("avx512bf16") && !__builtin_cpu_is("intel");
  return fast && (Usable() & (HWY_AVX3 | HWY_AVX3_DL)) != 0;
#else
  return false;
#endif
}

std::string ActiveTarget() {
  if (ActiveTargetHasTiles()) return std::string(kTilesName);
  const int64_t usable = Usable();
  return hwy::TargetName(usable & -usable);
}

Status ForceTarget(std::string_view name) {
  int64_t chosen = 0;  // 0 lifts the restriction
  const int64_t available = Available();
  const bool has_tiles = MachineHasTiles(), best = name.empty() || EqualIgnoringCase(name, "best");
  const bool tiles = has_tiles && (best || EqualIgnoringCase(name, kTilesName));
  if (!best && !tiles) {
    for (int bit = 0; bit < 63; ++bit) {
      const int64_t target = int64_t{1} << bit;
      if ((available & target) && EqualIgnoringCase(name, hwy::TargetName(target))) chosen = target;
    }
    if (chosen == 0) {
      return Error(ErrorCode::kInvalidArgument, "no instruction set '" + std::string(name) +
                                                    "' on this machine; use one of " + Join(AvailableTargets()));
    }
  }
  tiles_allowed = tiles;
  forced = chosen;
  hwy::SetSupportedTargetsForTest(chosen);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return Ok{};
}

}  // namespace grove
