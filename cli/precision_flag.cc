// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/precision_flag.h"

#include <map>
#include <string>

namespace grove::cli {

void AddPrecision(CLI::App& app, std::optional<Precision>& precision) {
  const std::map<std::string, Precision> names = {
      {"bf16", Precision::kBf16}, {"fp32", Precision::kFp32}, {"int8", Precision::kInt8}};
  app.add_option("--precision", precision,
                 "Of weights and inputs of dense layers and trees: fp32, bf16 or int8 "
                 "(default: the one that the model is stored in, fp32 unless it was quantized)")
      ->transform(CLI::CheckedTransformer(names))
      ->type_name("NAME");
}

}  // namespace grove::cli
