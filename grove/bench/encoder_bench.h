// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Whole encoders side by side: tree models beside their dense twin of the same shape, with random weights or from model
// directories. Every round takes other random token ids, sides are timed interleaved in one run on the same number of
// threads, and the median counts. What users feel is here; a layer's figure (layer_bench.h) is a means.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/bench/interleave.h"
#include "grove/bench/machine_ceiling.h"
#include "grove/io/model_config.h"
#include "grove/model/dense_product.h"

namespace grove::bench {

struct EncoderBenchOptions {
  std::vector<std::string> models;  // directories; empty: `kinds` with random weights
  std::vector<std::string> kinds = {"dense", "neuron_tree", "leaf_tree", "none"};  // of EncoderBenchKinds()
  int64_t layers = 12, width = 768, heads = 12;                                    // random weights
  std::vector<size_t> batches = {1, 32};
  size_t length = 128;
  bool ragged = false;  // lengths spread evenly from 8 to `length`
  size_t threads = 1;
  std::optional<Precision> precision = {};  // none: what each model is stored in, fp32 with random weights
  double seconds = 2.0;                     // of each model at each batch size
};

// "dense" (3072, GELU), "dense_128", "leaf_tree" (depth 7, 32 neurons a leaf, 4 paths), "neuron_tree" (16x7), "none".
const std::vector<std::string>& EncoderBenchKinds();

struct EncoderBenchRow {
  std::string name, feed_forward;
  Precision precision = Precision::kFp32;
  MachineCeiling ceiling = {};               // in that precision
  size_t weight_bytes = 0;                   // packed, without the embedding
  std::vector<double> flops_per_token = {};  // one for each batch size, and so on
  std::vector<double> bytes_per_token = {};  // weights once a batch, activations once a pass
  std::vector<Timing> timings = {};          // of a whole batch
  std::vector<double> roofline_share = {};   // least time by the machine's ceiling over the median
};

struct EncoderBenchReport {
  EncoderBenchOptions options;
  std::vector<size_t> tokens;         // in a batch, padding not counted
  std::vector<EncoderBenchRow> rows;  // speed-ups are over the first
};

Result<EncoderBenchReport> BenchEncoders(const EncoderBenchOptions& options,
                                         const std::function<void(double, const std::string&)>& progress);

}  // namespace grove::bench
