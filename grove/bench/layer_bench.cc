// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/layer_bench.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "grove/bench/dense_rivals.h"
#include "grove/bench/layer_contender.h"
#include "grove/bench/quantized_ceiling.h"

namespace grove::bench {
namespace {

using Layers = std::vector<std::unique_ptr<LayerContender>>;

using Bits = std::optional<Quantization>;

std::unique_ptr<LayerContender> MakeTree(const NeuronTreeShape& shape, Bits precision) {
  return precision ? MakeQuantizedTreeContender(shape, *precision) : MakeNeuronTreeContender(shape);
}

// The conditional layers: 128 active neurons of about 4096, and the published 1x11.
Layers MakeNeuronTrees(size_t width, Bits precision, bool all) {
  const NeuronTreeShape one{.width = width, .trees = 1, .depth = 11}, many{.width = width, .trees = 16, .depth = 7};
  Layers layers;
  layers.push_back(MakeTree(one, precision));
  layers.push_back(MakeTree(many, precision));
  if (!all) return layers;
  NeuronTreeShape two_sided = many;
  two_sided.two_sided = true;
  layers.push_back(MakeTree(two_sided, precision));
  if (precision) return layers;
  layers.push_back(MakeRandomlyRoutedContender(many));
  return layers;
}

Layers MakeLeafTrees(size_t width, Bits precision, bool all) {
  const auto shape = [&](size_t depth, size_t leaf_width, size_t paths) {
    return LeafTreeShape{
        .in_width = width, .leaf_width = leaf_width, .out_width = width, .depth = depth, .paths = paths};
  };
  const auto make = [&](const LeafTreeShape& leaves) {
    return precision ? MakeQuantizedLeafTreeContender(leaves, *precision) : MakeLeafTreeContender(leaves, 1);
  };
  Layers layers;
  layers.push_back(make(shape(5, 128, 1)));
  layers.push_back(make(shape(7, 32, 4)));
  if (!all || precision) return layers;
  layers.push_back(MakeLeafTreeContender(shape(5, 32, 1), 4));
  layers.push_back(MakeLeafTreeContender(shape(6, 16, 2), 4));
  return layers;
}

Layers MakeMixtures(size_t width, const ThreadPool& pool) {
  const auto shape = [&](size_t experts, size_t expert_width, size_t per_token) {
    const ExpertsShape nets{.experts = experts, .in_width = width, .hidden_width = expert_width, .out_width = width};
    return MixtureShape{.experts = nets, .per_token = per_token};
  };
  Layers layers;
  layers.push_back(MakeMixtureContender(shape(32, 128, 1), pool));
  layers.push_back(MakeMixtureContender(shape(128, 32, 4), pool));
  return layers;
}

Layers MakeProductKeys(size_t width, const ThreadPool& pool) {
  Layers layers;
  layers.push_back(
      MakeProductKeyContender({.width = width, .heads = 8, .sub_keys = 64, .key_width = 64, .per_head = 16}, pool));
  return layers;
}

// The best that there is: every library, and our own.
Layers MakeDense(size_t width, size_t neurons, Bits precision, const ThreadPool& pool) {
  Layers layers;
  const auto add = [&](std::unique_ptr<LayerContender> layer) {
    if (layer) layers.push_back(std::move(layer));
  };
  add(MakeOneDnnContender(width, neurons, precision));
  if (!precision) add(MakeOpenBlasContender(width, neurons));
  const Precision own = !precision                          ? Precision::kFp32
                        : *precision == Quantization::kBf16 ? Precision::kBf16
                                                            : Precision::kInt8;
  if (Supports(own)) add(MakeDenseContender(width, neurons, own, pool));
  return layers;
}

Layers MakeLayers(const LayerBenchOptions& options, const ThreadPool& pool) {
  const size_t width = options.width;
  const Bits precision = options.precision;
  Layers layers;
  const auto add = [&](Layers more) { std::move(more.begin(), more.end(), std::back_inserter(layers)); };
  for (const size_t neurons : {3072, 4096, 128, 16}) add(MakeDense(width, neurons, precision, pool));
  if (options.kinds.empty()) {
    add(MakeNeuronTrees(width, precision, /*all=*/false));
    add(MakeLeafTrees(width, precision, /*all=*/false));
  }
  const auto wanted = [&](const char* kind) {
    return std::find(options.kinds.begin(), options.kinds.end(), kind) != options.kinds.end();
  };
  if (wanted("neuron_tree")) add(MakeNeuronTrees(width, precision, /*all=*/true));
  if (wanted("leaf_tree")) add(MakeLeafTrees(width, precision, /*all=*/true));
  if (wanted("moe") && !precision) add(MakeMixtures(width, pool));
  if (wanted("product_key") && !precision) add(MakeProductKeys(width, pool));
  return layers;
}

// Tokens spread over the whole batch, each computed by the reference and compared.
double Verify(const LayerContender& layer, const LayerBenchOptions& options, const AlignedArray<float>& x,
              ThreadPool& pool) {
  const size_t width = options.width, tokens = x.size() / width;
  AlignedArray<float> y(x.size());
  std::vector<float> expected(width);
  layer.Forward(x.data(), tokens, y.data(), pool);
  double difference = 0, largest = 0;
  const size_t checked = std::min(options.checked_tokens, tokens);
  for (size_t i = 0; i < checked; ++i) {
    const size_t t = i * tokens / checked;
    layer.Reference(x.data() + t * width, 1, expected.data());
    for (size_t j = 0; j < width; ++j) {
      const double d = std::abs(double{y[t * width + j]} - expected[j]);
      difference = std::isfinite(d) ? std::max(difference, d) : INFINITY;
      largest = std::max(largest, std::abs(double{expected[j]}));
    }
  }
  return difference / largest;
}

std::vector<Timing> TimeBatch(const Layers& layers, const LayerBenchOptions& options, const AlignedArray<float>& x,
                              size_t tokens, ThreadPool& pool) {
  const size_t batches = x.size() / options.width / tokens;
  AlignedArray<float> y(tokens * options.width);
  std::vector<Contender> contenders;
  for (const auto& layer : layers) {
    contenders.push_back({[&, layer = layer.get()](size_t round) {
      layer->Forward(x.data() + (round % batches) * tokens * options.width, tokens, y.data(), pool);
    }});
  }
  return TimeInterleaved(contenders, {.seconds = options.seconds});
}

}  // namespace

double LayerBenchReport::DenseSecondsPerToken(size_t c) const {
  double best = INFINITY;
  for (const LayerBenchRow& row : rows) {
    if (!row.dense || row.stored < 3072) continue;
    const double per_token = row.timings[c].median / static_cast<double>(options.token_counts[c]);
    best = std::min(best, per_token * 4096.0 / static_cast<double>(row.stored));
  }
  return best;
}

double LayerBenchReport::ShareOfRoofline(const LayerBenchRow& row, size_t c) const {
  const double least = RooflineSeconds(ceiling, row.flops_per_token, row.bytes_per_token[c]);
  return least * static_cast<double>(options.token_counts[c]) / row.timings[c].median;
}

const std::vector<std::string>& LayerBenchKinds() {
  static const std::vector<std::string> kinds = {"leaf_tree", "moe", "neuron_tree", "product_key"};
  return kinds;
}

LayerBenchReport BenchLayers(const LayerBenchOptions& options,
                             const std::function<void(double, const std::string&)>& progress) {
  ThreadPool pool(options.threads);
  LayerBenchReport report{options, {}, {}};
  progress(0, "making layers with random weights");
  const Layers layers = MakeLayers(options, pool);
  const size_t most = *std::max_element(options.token_counts.begin(), options.token_counts.end());
  const std::vector<float> values = RandomWeights(std::max<size_t>(most, 4096) * options.width, 1, 42);
  AlignedArray<float> x(values.size());
  std::copy(values.begin(), values.end(), x.data());
  report.ceiling = MeasureCeiling(Precision::kFp32, pool);
  if (options.precision) report.ceiling.flops_per_second = QuantizedFlops(*options.precision, pool);
  const double steps = static_cast<double>(layers.size() + options.token_counts.size());
  double done = 0;
  for (const auto& layer : layers) {
    progress(done++ / steps, "checking " + layer->name + " against the reference");
    LayerBenchRow row{.name = layer->name,
                      .dense = layer->dense,
                      .stored = layer->stored,
                      .active = layer->active,
                      .decisions = layer->decisions,
                      .weight_bytes = layer->weight_bytes,
                      .flops_per_token = layer->FlopsPerToken(options.width),
                      .error = Verify(*layer, options, x, pool),
                      .tolerance = layer->tolerance,
                      .bytes_per_token = {},
                      .timings = {}};
    for (const size_t tokens : options.token_counts) {
      row.bytes_per_token.push_back(layer->BytesPerToken(options.width, tokens));
    }
    report.rows.push_back(std::move(row));
  }
  for (const size_t tokens : options.token_counts) {
    progress(done++ / steps, "timing " + std::to_string(tokens) + (tokens == 1 ? " token" : " tokens"));
    const std::vector<Timing> timings = TimeBatch(layers, options, x, tokens, pool);
    for (size_t r = 0; r < timings.size(); ++r) report.rows[r].timings.push_back(timings[r]);
  }
  return report;
}

}  // namespace grove::bench
