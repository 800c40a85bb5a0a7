// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Options of a training verb (grove/train/options.h) as flags of its command line. What a flag names comes on top of
// what a configuration file says.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/verb.h"
#include "grove/train/options.h"

namespace grove::cli {

class OptionFlags {
 public:
  // A flag per option; its present value is shown as the default. "about" is for configuration files alone.
  void Declare(CLI::App& app, const train::OptionList& defaults);
  bool Given(const std::string& name) const;
  // Sets what the command line named. A value that is none is an error naming the flag.
  Status Apply(const train::OptionList& list) const;

 private:
  std::vector<std::pair<std::string, std::string>> given_;  // name, text
};

}  // namespace grove::cli
