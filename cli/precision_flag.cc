// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/precision_flag.h"

#include <map>
#include <string>

#include "grove/kernels/target.h"

namespace grove::cli {

void AddPrecision(CLI::App& app, Precision& precision) {
  const std::map<std::string, Precision> names = {{"bf16", Precision::kBf16}, {"fp32", Precision::kFp32}};
  app.add_option("--precision", precision,
                 "Of dense products' weights and inputs: fp32 (default), or bf16 where the processor multiplies it")
      ->transform(CLI::CheckedTransformer(names))
      ->type_name("NAME");
}

Status CheckPrecision(Precision precision) {
  if (Supports(precision)) return Ok{};
  return Error(ErrorCode::kUnsupported, "--precision " + std::string(PrecisionName(precision)) +
                                            " needs a processor with AVX512-BF16 and target AVX3 or better (active: " +
                                            ActiveTarget() + "); use fp32");
}

std::string_view PrecisionName(Precision precision) { return precision == Precision::kBf16 ? "bf16" : "fp32"; }

}  // namespace grove::cli
