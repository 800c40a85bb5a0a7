// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What several verbs read: texts from the command line or stdin, text files (plain or zstd), a model's tokenizer.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "grove/base/result.h"
#include "grove/text/tokenizer.h"

namespace grove::cli {

// Declares the positional argument TEXT...
void AddTexts(CLI::App& app, std::vector<std::string>& texts, const std::string& description);

// `arguments` if there are any, else the lines of stdin without their line ends. An error if there is neither.
Result<std::vector<std::string>> TextsOrStdin(const std::vector<std::string>& arguments);

// The tokenizer in `file` if given, else the one of the model directory `model`.
Result<Tokenizer> OpenTokenizer(const std::string& file, const std::string& model);

}  // namespace grove::cli
