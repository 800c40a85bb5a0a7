// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "grove/io/files.h"
#include "grove/io/json.h"

namespace grove::train {
namespace {

using Json = nlohmann::ordered_json;

bool IsChoice(std::string_view choices, std::string_view text) {
  if (choices.empty()) return true;
  return !text.empty() && text.find(' ') == std::string_view::npos &&
         fmt::format(" {} ", choices).find(fmt::format(" {} ", text)) != std::string::npos;
}

template <class T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// "1000000" and "1e6" are both whole.
bool ParseWhole(std::string_view text, int64_t* value) {
  if (ParseNumber(text, value)) return true;
  double number = 0;
  if (!ParseNumber(text, &number) || !(std::abs(number) <= 9e15)) return false;
  *value = static_cast<int64_t>(number);
  return static_cast<double>(*value) == number;
}

Error OutOfRange(const Option& option, std::string_view text, const std::string& where) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{} is {} and must be from {} to {}", where, text, option.low, option.high));
}

}  // namespace

std::string FlagName(const Option& option) {
  std::string flag = "--" + option.name;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::string OptionText(const Option& option) {
  return std::visit([](const auto* value) { return fmt::format("{}", *value); }, option.value);
}

const Option* FindOption(const OptionList& list, std::string_view name) {
  const auto found = std::find_if(list.begin(), list.end(), [&](const Option& o) { return o.name == name; });
  return found == list.end() ? nullptr : &*found;
}

Status SetOption(const Option& option, std::string_view text, const std::string& where) {
  const auto wrong = [&](const std::string& expected) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("{} is \"{}\" and must be {}", where, text, expected));
  };
  if (auto* const* word = std::get_if<std::string*>(&option.value)) {
    if (!IsChoice(option.choices, text)) return wrong("one of: " + option.choices);
    **word = std::string(text);
  } else if (auto* const* flag = std::get_if<bool*>(&option.value)) {
    if (text != "true" && text != "false") return wrong("true or false");
    **flag = text == "true";
  } else if (auto* const* whole = std::get_if<int64_t*>(&option.value)) {
    int64_t value = 0;
    if (!ParseWhole(text, &value)) return wrong("a whole number");
    const double number = static_cast<double>(value);
    if (number < option.low || number > option.high) return OutOfRange(option, text, where);
    **whole = value;
  } else {
    double value = 0;
    if (!ParseNumber(text, &value)) return wrong("a number");
    if (!(value >= option.low && value <= option.high)) return OutOfRange(option, text, where);
    *std::get<double*>(option.value) = value;
  }
  return Ok{};
}

Status ReadOptionsFile(const std::string& path, const OptionList& list, std::string_view verb) {
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  GROVE_ASSIGN_OR_RETURN(const nlohmann::json json, ParseJson(text, path));
  if (!json.is_object()) return Error(ErrorCode::kCorrupt, path + " is not a JSON object; write {\"layers\": 4, ...}");
  for (const auto& [key, value] : json.items()) {
    const Option* option = FindOption(list, key);
    if (option == nullptr) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("{}: the key \"{}\" is no option; see grove-train {} --help", path, key, verb));
    }
    const bool is_text = std::holds_alternative<std::string*>(option->value);
    if (is_text != value.is_string() || value.is_structured()) {
      return Error(ErrorCode::kInvalidArgument, fmt::format("{}: the value of \"{}\" must be {}", path, key,
                                                            is_text ? "a string" : "a number or true or false"));
    }
    GROVE_RETURN_IF_ERROR(
        SetOption(*option, is_text ? value.get<std::string>() : value.dump(), fmt::format("{}: \"{}\"", path, key)));
  }
  return Ok{};
}

Json OptionsJson(const OptionList& list) {
  Json json;
  for (const Option& option : list) {
    std::visit([&](const auto* value) { json[option.name] = *value; }, option.value);
  }
  return json;
}

Status CheckSameRun(const OptionList& list, const Json& recorded) {
  const Json now = OptionsJson(list);
  for (const Option& option : list) {
    const std::string& name = option.name;
    if (option.may_change || !recorded.contains(name) || recorded[name] == now[name]) continue;
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} is {} but the run to resume has {}; give the same value or another --output",
                             FlagName(option), now[name].dump(), recorded[name].dump()));
  }
  return Ok{};
}

}  // namespace grove::train
