// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Which instruction set the kernels use. The best one the machine has is chosen at run time; --target or GROVE_TARGET
// forces one, and a name that is unknown or not on this machine is an error, never a silent fallback. "AVX3_AMX" is
// AVX3 with the tile registers of AMX beside it, for products of bf16 and int8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "grove/base/result.h"

namespace grove {

std::vector<std::string> CompiledTargets();   // best first, e.g. "AVX3_AMX", "AVX3", "AVX2", "SSE4", "SCALAR"
std::vector<std::string> AvailableTargets();  // compiled and supported by this machine
std::string ActiveTarget();
bool ActiveTargetHasTiles();  // of AMX
// Whether an instruction multiplies pairs of bf16 (AVX512-BF16) faster than floats. Intel's processors have it at half
// the rate of a product of floats: bf16 is faster there with weights that become floats as they are loaded.
bool ActiveTargetMultipliesBf16();

// Restricts dispatch to `name` ("AVX2", any case). "" or "best" lifts the restriction.
Status ForceTarget(std::string_view name);

}  // namespace grove
