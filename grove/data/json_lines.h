// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// One line of a JSONL file: an object, one of whose members is a document's text.
#pragma once

#include <string>
#include <string_view>

#include "grove/base/result.h"

namespace grove {

// The string member `field` of the object in `line`, without building the rest. `where` names file and line in an
// error.
Status ReadJsonLine(std::string_view line, const std::string& field, const std::string& where, std::string* text);

}  // namespace grove
