// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A model folder with its large matrices in bf16 or int8, which every program of ours then loads like any other.
//
//   model.safetensors     matrices that the model multiplies in that precision: BF16, or I8 with a tensor
//   "<name>_scale"
//                         F32 (WeightsLayout); all others as they were
//   config.json           the same with "weight_precision"
//   README.md             the card with a section that says how it was made; tokenizer, labels and licence are copied
//
// Which matrices those are, the loader says: those that it reads through ReadWeights() (model/read_weights.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/base/thread_pool.h"
#include "grove/base/weights.h"
#include "grove/model/compare_precision.h"
#include "grove/model/held_out_text.h"

namespace grove {

struct QuantizeOptions {
  std::string model, output;
  Precision precision = Precision::kInt8;  // or kBf16
  bool overwrite = false;                  // a model that is in `output`
  HeldOutOptions text = {};                // for the report
};

// One feedforward kind of the model that has no low-precision form, and the layers that have it.
struct KeptLayers {
  std::string feed_forward;
  std::vector<int64_t> layers;  // from 0
};

struct QuantizeReport {
  uint64_t bytes_before = 0, bytes_after = 0;  // of model.safetensors
  size_t matrices = 0, tensors = 0;            // rounded, of all that were written
  size_t layers = 0;                           // of the model
  std::vector<KeptLayers> kept = {};           // computed in fp32
  std::string text;                            // what was measured on, or why nothing was
  PrecisionComparison comparison;              // no sequences: not measured
};

// Progress from 0 to 1 and what is being done; false ends the work, with an error.
using QuantizeProgress = std::function<bool(double, const std::string&)>;

// Written to a folder beside `output` first and moved there whole. An error leaves `output` as it was: one that exists
// (without `overwrite`, or if it is no model), a model that is quantized already, weights that are no numbers.
Result<QuantizeReport> QuantizeModel(const QuantizeOptions& options, ThreadPool* pool,
                                     const QuantizeProgress& progress);

// The report as "quantization.json" of the folder has it.
std::string QuantizeReportJson(const QuantizeOptions& options, const QuantizeReport& report);

}  // namespace grove
