// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// --precision of the verbs that run a model.
#pragma once

#include <CLI/CLI.hpp>
#include <string_view>

#include "grove/base/result.h"
#include "grove/model/dense_product.h"

namespace grove::cli {

void AddPrecision(CLI::App& app, Precision& precision);

// An error where this machine, or the instruction set that was forced, lacks it.
Status CheckPrecision(Precision precision);

std::string_view PrecisionName(Precision precision);  // "bf16", "fp32", "int8"

}  // namespace grove::cli
