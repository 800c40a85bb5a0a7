// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <string>

#include "cli/verb.h"
#include "grove/base/result.h"
#include "grove/train/pretrain.h"

namespace grove::cli {

// What the command line and the environment decide for a training verb: threads, this process's place among several
// (train/world.h), stopping in order while a StopRequest lives, and the end of the process when another one is lost.
Status PrepareContext(const std::string& verb, const CommonOptions& common, train::PretrainContext* context);

// The figures of a dry run, as text or JSON.
void ReportDryRun(const CommonOptions& common, const train::DryRunReport& report);

}  // namespace grove::cli
