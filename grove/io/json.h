// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// JSON text to nlohmann::json, stricter than the library: a key that occurs twice in one object, or nesting deeper than
// 64, is an error, because readers disagree about what such a text means.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "grove/base/result.h"

namespace grove {

// `name` stands for the file in error messages.
Result<nlohmann::json> ParseJson(std::string_view text, const std::string& name);

// "line 3, column 7" of byte offset `byte` (0-based) in `text`.
std::string TextPosition(std::string_view text, size_t byte);

}  // namespace grove
