// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/precision_flag.h"

#include <string>

namespace grove::cli {

void AddPrecision(CLI::App& app, std::optional<Precision>& precision) {
  const auto read = [&precision](const std::string& name) {
    for (const Precision known : {Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
      if (PrecisionName(known) != name) continue;
      precision = known;
      return;
    }
    throw CLI::ValidationError("--precision", name + " is no precision; choose fp32, bf16 or int8");
  };
  app.add_option_function<std::string>("--precision", read,
                                       "Of weights and inputs of dense layers and trees: fp32, bf16 or int8 "
                                       "(default: the one that the model is stored in, fp32 unless it was quantized)")
      ->type_name("NAME");
}

}  // namespace grove::cli
