// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/input.h"

#include <unistd.h>

#include <iostream>

#include "grove/io/model_directory.h"

namespace grove::cli {

void AddTexts(CLI::App& app, std::vector<std::string>& texts, const std::string& description) {
  // CLI11 takes the text "[MASK]" for a list with the one element MASK, except where no extra arguments are allowed. An
  // option that expects this many values and takes what it gets needs none.
  constexpr int kMany = 1 << 20;
  app.add_option("TEXT", texts, description + " (default: the lines of standard input)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(kMany, CLI::detail::expected_max_vector_size)
      ->allow_extra_args(false)
      ->type_name("");
}

Result<std::vector<std::string>> TextsOrStdin(const std::vector<std::string>& arguments) {
  if (!arguments.empty()) return arguments;
  if (isatty(STDIN_FILENO)) {
    return Error(ErrorCode::kInvalidArgument,
                 "there is no text; give it as an argument or one a line on standard input");
  }
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
  }
  if (lines.empty()) {
    return Error(ErrorCode::kInvalidArgument, "standard input holds no text; give one text a line");
  }
  return lines;
}

Result<Tokenizer> OpenTokenizer(const std::string& file, const std::string& model) {
  if (!file.empty()) return Tokenizer::Load(file);
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(model));
  if (directory.tokenizer_path.empty()) {
    return Error(ErrorCode::kNotFound,
                 model + " has no tokenizer; put its tokenizer.json or vocab.txt there or give --tokenizer");
  }
  return Tokenizer::Load(directory.tokenizer_path);
}

}  // namespace grove::cli
