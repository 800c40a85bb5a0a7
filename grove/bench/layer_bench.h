// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Tree layers beside dense layers at the paper's size, the rules of DESIGN.md kept: every token has its own random
// input, every repetition takes other tokens, the outputs are checked against the reference in the same run, sides are
// timed interleaved and the median counts, on the same number of threads.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grove/bench/interleave.h"
#include "grove/bench/machine_ceiling.h"
#include "grove/bench/model_layer.h"
#include "grove/quant/quantization.h"

namespace grove::bench {

struct TreesAndDepth {
  size_t trees = 1, depth = 0;
};

struct LayerBenchOptions {
  size_t width = 768;                                    // with `model_layer`: of the model
  std::optional<Quantization> precision = std::nullopt;  // none: fp32
  // Which layers stand beside the dense ones: names of LayerBenchKinds(). Empty: the published trees and the leaf trees
  // of one router.
  std::vector<std::string> kinds;
  // Neuron trees of one shape in place of `kinds`, beside dense layers of 4 x width neurons and of the active ones.
  std::optional<TreesAndDepth> shape = std::nullopt;
  // A model's layer in place of `kinds`, on its own hidden states, beside dense layers of its stored and its active
  // neurons. It has at least as many tokens as the largest batch.
  std::shared_ptr<const ModelLayer> model_layer = nullptr;
  // Neuron trees of fp32 also in each of their forms, as rows of their own with weights of their own: the choice
  // between them can then be checked. Trees of `model_layer` have no such rows.
  bool forms = false;
  // Whether dense layers stand beside the trees. Without them a large array is read before each turn, so that weights
  // come from memory as they do in turns with large dense layers.
  bool dense = true;
  std::vector<size_t> token_counts = {1, 128, 4096};
  size_t threads = 1;
  double seconds = 1.0;        // of each layer at each token count
  size_t checked_tokens = 24;  // compared with the reference, spread over the largest batch; of huge layers fewer
};

struct LayerBenchRow {
  std::string name;
  bool dense = false;
  bool rival = false;  // one of the dense layers that trees replace
  size_t stored = 0, active = 0, decisions = 0, weight_bytes = 0;
  double flops_per_token = 0;
  double error = 0;                     // largest difference from the reference over its largest value
  double tolerance = 0;                 // up to which it counts as verified
  std::vector<double> bytes_per_token;  // that memory must move at least, for each token count
  std::vector<Timing> timings;          // of a whole batch, one for each token count
};

struct LayerBenchReport {
  LayerBenchOptions options;
  MachineCeiling ceiling;  // measured in the same run
  size_t full = 4096;      // neurons of the dense layer that the others are compared with
  std::vector<LayerBenchRow> rows;
  // The fastest of the rivals at token count `c`, scaled to `full` neurons; seconds a token. Infinite without rivals:
  // `dense` is false, or nobody has the precision on this machine.
  double DenseSecondsPerToken(size_t c) const;
  bool HasRivals() const;
  // The least time that the ceiling allows over the time taken.
  double ShareOfRoofline(const LayerBenchRow& row, size_t c) const;
};

// "leaf_tree", "moe", "neuron_tree", "product_key": each with all of its layers. bf16 and int8 have leaf_tree and
// neuron_tree.
const std::vector<std::string>& LayerBenchKinds();

// Layers are made and checked one after the other, trees first, and then forget what only the check needs: the largest
// fill the memory. `progress` is told what is being done and how far it is, in [0, 1].
LayerBenchReport BenchLayers(const LayerBenchOptions& options,
                             const std::function<void(double, const std::string&)>& progress);

}  // namespace grove::bench
