// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/precision_flag.h"

#include <map>
#include <string>

#include "grove/kernels/target.h"

namespace grove::cli {

void AddPrecision(CLI::App& app, Precision& precision) {
  const std::map<std::string, Precision> names = {
      {"bf16", Precision::kBf16}, {"fp32", Precision::kFp32}, {"int8", Precision::kInt8}};
  app.add_option("--precision", precision,
                 "Of weights and inputs of dense layers and trees: fp32 (default), bf16 where the processor multiplies "
                 "it, or int8")
      ->transform(CLI::CheckedTransformer(names))
      ->type_name("NAME");
}

Status CheckPrecision(Precision precision) {
  if (Supports(precision)) return Ok{};
  return Error(ErrorCode::kUnsupported, "--precision " + std::string(PrecisionName(precision)) +
                                            " needs a processor with AVX512-BF16 and target AVX3 or better (active: " +
                                            ActiveTarget() + "); use fp32");
}

std::string_view PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return "bf16";
    case Precision::kFp32:
      return "fp32";
    case Precision::kInt8:
      return "int8";
  }
  return "";
}

}  // namespace grove::cli
