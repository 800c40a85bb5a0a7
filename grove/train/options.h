// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Options of a training verb, declared once: a list that binds each name to a member of an options struct feeds the
// command line and its help (cli/option_flags.h), JSON configuration files, the record in logs and checkpoints, and
// the check that a resumed run continues the same one.
//
//   OptionList FinetuneOptionList(FinetuneOptions& o) {
//     return {{"epochs", &o.epochs, "Passes over the training set", 1, 1000}, ...};
//   }
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "grove/base/result.h"

namespace grove::train {

constexpr double kMany = 1e15;  // an upper bound for counts that have none

struct Option {
  std::string name;  // key in a configuration file; on the command line '_' becomes '-'
  std::variant<bool*, int64_t*, double*, std::string*> value;
  std::string help;
  double low = 0, high = 0;  // range of a number, both included
  std::string choices{};     // of a string: "auto cpu cuda"; empty for any
  bool may_change = false;   // may differ when a run is resumed
};

// Bound to one struct, which outlives it.
using OptionList = std::vector<Option>;

std::string FlagName(const Option& option);    // "--learning-rate"
std::string OptionText(const Option& option);  // the present value as SetOption reads it
const Option* FindOption(const OptionList& list, std::string_view name);

// Sets one option from text. `where` names the flag or file in the error.
Status SetOption(const Option& option, std::string_view text, const std::string& where);

// Sets the options that the JSON object in `path` names. An unknown key is an error, which points to the help of
// `verb`.
Status ReadOptionsFile(const std::string& path, const OptionList& list, std::string_view verb);
nlohmann::ordered_json OptionsJson(const OptionList& list);

// An error naming the first option that may not change and did. `recorded` is OptionsJson of the interrupted run.
Status CheckSameRun(const OptionList& list, const nlohmann::ordered_json& recorded);

}  // namespace grove::train
