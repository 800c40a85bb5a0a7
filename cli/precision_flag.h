// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// --precision of the verbs that run a model.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "grove/base/weights.h"

namespace grove::cli {

// None: the precision that the model is stored in.
void AddPrecision(CLI::App& app, std::optional<Precision>& precision);

}  // namespace grove::cli
