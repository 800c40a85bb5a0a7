// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/option_flags.h"

#include <algorithm>

#include "grove/base/check.h"

namespace grove::cli {
namespace {

std::string TypeName(const train::Option& option) {
  if (std::holds_alternative<bool*>(option.value)) return "true|false";
  if (std::holds_alternative<int64_t*>(option.value)) return "INT";
  if (std::holds_alternative<double*>(option.value)) return "FLOAT";
  std::string choices = option.choices.empty() ? "TEXT" : option.choices;
  std::replace(choices.begin(), choices.end(), ' ', '|');
  return choices;
}

}  // namespace

void OptionFlags::Declare(CLI::App& app, const train::OptionList& defaults) {
  for (const train::Option& option : defaults) {
    if (option.name == "about") continue;
    const auto keep = [this, name = option.name](const std::string& text) { given_.emplace_back(name, text); };
    CLI::Option* flag = app.add_option_function<std::string>(train::FlagName(option), keep, option.help);
    flag->type_name(TypeName(option));
    const std::string standard = train::OptionText(option);
    if (!standard.empty()) flag->default_str(standard);
  }
}

bool OptionFlags::Given(const std::string& name) const {
  return std::any_of(given_.begin(), given_.end(), [&](const auto& flag) { return flag.first == name; });
}

Status OptionFlags::Apply(const train::OptionList& list) const {
  for (const auto& [name, text] : given_) {
    const train::Option* option = train::FindOption(list, name);
    GROVE_CHECK(option != nullptr);
    GROVE_RETURN_IF_ERROR(train::SetOption(*option, text, train::FlagName(*option)));
  }
  return Ok{};
}

}  // namespace grove::cli
