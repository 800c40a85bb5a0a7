// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/layer_bench.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>
#include <utility>

#include "grove/bench/dense_rivals.h"
#include "grove/bench/layer_contender.h"
#include "grove/bench/quantized_ceiling.h"

namespace grove::bench {
namespace {

// What makes a layer, or null where a library is missing.
using Maker = std::function<std::shared_ptr<LayerContender>()>;
using Makers = std::vector<Maker>;

using Bits = std::optional<Quantization>;

std::unique_ptr<LayerContender> MakeTree(const NeuronTreeShape& shape, Bits precision) {
  return precision ? MakeQuantizedTreeContender(shape, *precision) : MakeNeuronTreeContender(shape);
}

// What the number of tokens chooses, and with `forms` each that it can choose from.
Makers FormsOf(const NeuronTreeShape& shape, const LayerBenchOptions& options) {
  Makers makers = {[=, precision = options.precision] { return MakeTree(shape, precision); }};
  if (!options.forms || options.precision) return makers;
  std::vector<WalkForm> forms = {WalkForm::kFewTokens, WalkForm::kGrouped};
  if (options.threads > 1 && shape.trees >= 2 * options.threads) forms.push_back(WalkForm::kOneByThreads);
  for (const WalkForm form : forms) {
    makers.emplace_back([=] { return MakeTreeFormContender(MakeNeuronTreeContender(shape), form); });
  }
  return makers;
}

void Append(Makers more, Makers& makers) { std::move(more.begin(), more.end(), std::back_inserter(makers)); }

// The conditional layers: 128 active neurons of about 4096, and the published 1x11.
Makers NeuronTrees(const LayerBenchOptions& options, bool all) {
  const size_t width = options.width;
  const NeuronTreeShape one{.width = width, .trees = 1, .depth = 11}, many{.width = width, .trees = 16, .depth = 7};
  NeuronTreeShape two_sided = many;
  two_sided.two_sided = true;
  Makers makers = FormsOf(one, options);
  Append(FormsOf(many, options), makers);
  if (all) Append(FormsOf(two_sided, options), makers);
  if (all && !options.precision) makers.emplace_back([=] { return MakeRandomlyRoutedContender(many); });
  return makers;
}

Makers LeafTrees(size_t width, Bits precision, bool all) {
  const auto make = [=](size_t depth, size_t leaf_width, size_t paths, size_t trees) -> Maker {
    const LeafTreeShape shape{
        .in_width = width, .leaf_width = leaf_width, .out_width = width, .depth = depth, .paths = paths};
    return [=] {
      return precision ? MakeQuantizedLeafTreeContender(shape, *precision) : MakeLeafTreeContender(shape, trees);
    };
  };
  Makers makers = {make(5, 128, 1, 1), make(7, 32, 4, 1)};
  if (!all || precision) return makers;
  makers.push_back(make(5, 32, 1, 4));
  makers.push_back(make(6, 16, 2, 4));
  return makers;
}

Makers Mixtures(size_t width, const ThreadPool& pool) {
  const auto make = [width, &pool](size_t experts, size_t expert_width, size_t per_token) -> Maker {
    const ExpertsShape nets{.experts = experts, .in_width = width, .hidden_width = expert_width, .out_width = width};
    return [=, &pool] { return MakeMixtureContender({.experts = nets, .per_token = per_token}, pool); };
  };
  return {make(32, 128, 1), make(128, 32, 4)};
}

Makers ProductKeys(size_t width, const ThreadPool& pool) {
  const ProductKeyShape shape{.width = width, .heads = 8, .sub_keys = 64, .key_width = 64, .per_head = 16};
  return {[=, &pool] { return MakeProductKeyContender(shape, pool); }};
}

// The best that there is: every library, and our own.
Makers Dense(size_t width, size_t neurons, Bits precision, const DenseRange& range, const ThreadPool& pool) {
  Makers makers = {[=] { return MakeOneDnnContender(width, neurons, precision, range); }};
  if (!precision) makers.emplace_back([=] { return MakeOpenBlasContender(width, neurons); });
  const Precision own = !precision                          ? Precision::kFp32
                        : *precision == Quantization::kBf16 ? Precision::kBf16
                                                            : Precision::kInt8;
  makers.emplace_back([=, &pool] { return MakeDenseContender(width, neurons, own, pool); });
  return makers;
}

Makers Trees(const LayerBenchOptions& options, const ThreadPool& pool) {
  const size_t width = options.width;
  const Bits precision = options.precision;
  if (options.model_layer) {
    return {[&] { return options.model_layer->trained; }, [&] { return options.model_layer->untrained; }};
  }
  if (options.shape) {
    const NeuronTreeShape shape{.width = width, .trees = options.shape->trees, .depth = options.shape->depth};
    return FormsOf(shape, options);
  }
  Makers makers;
  const auto add = [&](Makers more) { Append(std::move(more), makers); };
  if (options.kinds.empty()) {
    add(NeuronTrees(options, /*all=*/false));
    add(LeafTrees(width, precision, /*all=*/false));
  }
  const auto wanted = [&](const char* kind) {
    return std::find(options.kinds.begin(), options.kinds.end(), kind) != options.kinds.end();
  };
  if (wanted("neuron_tree")) add(NeuronTrees(options, /*all=*/true));
  if (wanted("leaf_tree")) add(LeafTrees(width, precision, /*all=*/true));
  if (wanted("moe") && !precision) add(Mixtures(width, pool));
  if (wanted("product_key") && !precision) add(ProductKeys(width, pool));
  return makers;
}

// Dense layers beside the trees: those that trees replace, and those as narrow as what trees compute.
struct DenseSizes {
  std::vector<size_t> rivals = {3072, 4096}, narrow = {128, 16};
  size_t full = 4096;
};

DenseSizes DenseSizesOf(const LayerBenchOptions& options) {
  const auto whole = [](size_t neurons) { return (neurons + 15) / 16 * 16; };  // misaligned sizes are slow
  if (options.model_layer) {
    const LayerContender& layer = *options.model_layer->trained;
    return {.rivals = {whole(layer.stored)}, .narrow = {whole(layer.active)}, .full = whole(layer.stored)};
  }
  if (!options.shape) return {};
  const size_t full = 4 * options.width;
  return {.rivals = {full}, .narrow = {whole(options.shape->trees * (options.shape->depth + 1))}, .full = full};
}

// Hidden values have the spread of x: weights on the way in have variance 1 / width.
DenseRange RangeOf(const AlignedArray<float>& x) {
  float largest = 0;
  double squares = 0;
  for (const float v : x.span()) largest = std::max(largest, std::abs(v)), squares += double{v} * v;
  return {.input = largest, .hidden = static_cast<float>(5.5 * std::sqrt(squares / static_cast<double>(x.size())))};
}

// Tokens spread over the whole batch, each computed by the reference and compared.
double Verify(const LayerContender& layer, const LayerBenchOptions& options, const AlignedArray<float>& x,
              ThreadPool& pool) {
  constexpr double kProducts = 4e9;  // of the reference, a few seconds
  const size_t width = options.width, tokens = x.size() / width;
  AlignedArray<float> y(x.size());
  std::vector<float> expected(width);
  layer.Forward(x.data(), tokens, y.data(), pool);
  double difference = 0, largest = 0;
  const double fitting = kProducts / static_cast<double>(2 * width * layer.active);
  const size_t checked = std::min({options.checked_tokens, tokens, static_cast<size_t>(std::max(fitting, 2.0))});
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

// Leaves nothing else in the caches, as the weights of a large dense layer do.
class CacheSweep {
 public:
  explicit CacheSweep(bool wanted) : lines_(wanted ? kBytes / sizeof(float) : 0) {}

  void Run() const {
    for (size_t i = 0; i < lines_.size(); i += kCacheLineBytes / sizeof(float)) sum_ = sum_ + lines_[i];
  }

 private:
  static constexpr size_t kBytes = size_t{64} << 20;
  AlignedArray<float> lines_;
  mutable volatile float sum_ = 0;
};

std::vector<Timing> TimeBatch(const std::vector<std::shared_ptr<LayerContender>>& layers,
                              const LayerBenchOptions& options, const AlignedArray<float>& x, size_t tokens,
                              const CacheSweep& sweep, ThreadPool& pool) {
  const size_t batches = x.size() / options.width / tokens;
  AlignedArray<float> y(tokens * options.width);
  std::vector<Contender> contenders;
  contenders.reserve(layers.size());
  for (const auto& layer : layers) {
    contenders.push_back({[&, layer = layer.get()](size_t round) {
                            layer->Forward(x.data() + (round % batches) * tokens * options.width, tokens, y.data(),
                                           pool);
                          },
                          [&](size_t) { sweep.Run(); }});
  }
  return TimeInterleaved(contenders, {.seconds = options.seconds});
}

LayerBenchRow CheckedRow(const LayerContender& layer, const LayerBenchOptions& options, const AlignedArray<float>& x,
                         ThreadPool& pool) {
  LayerBenchRow row{.name = layer.name,
                    .dense = layer.dense,
                    .stored = layer.stored,
                    .active = layer.active,
                    .decisions = layer.decisions,
                    .weight_bytes = layer.weight_bytes,
                    .flops_per_token = layer.FlopsPerToken(options.width),
                    .error = Verify(layer, options, x, pool),
                    .tolerance = layer.tolerance,
                    .bytes_per_token = {},
                    .timings = {}};
  for (const size_t tokens : options.token_counts) {
    row.bytes_per_token.push_back(layer.BytesPerToken(options.width, tokens));
  }
  return row;
}

}  // namespace

double LayerBenchReport::DenseSecondsPerToken(size_t c) const {
  double best = INFINITY;
  for (const LayerBenchRow& row : rows) {
    if (!row.rival) continue;
    const double per_token = row.timings[c].median / static_cast<double>(options.token_counts[c]);
    best = std::min(best, per_token * static_cast<double>(full) / static_cast<double>(row.stored));
  }
  return best;
}

bool LayerBenchReport::HasRivals() const {
  return std::any_of(rows.begin(), rows.end(), [](const LayerBenchRow& row) { return row.rival; });
}

double LayerBenchReport::ShareOfRoofline(const LayerBenchRow& row, size_t c) const {
  const double least = RooflineSeconds(ceiling, row.flops_per_token, row.bytes_per_token[c]);
  return least * static_cast<double>(options.token_counts[c]) / row.timings[c].median;
}

const std::vector<std::string>& LayerBenchKinds() {
  static const std::vector<std::string> kinds = {"leaf_tree", "moe", "neuron_tree", "product_key"};
  return kinds;
}

LayerBenchReport BenchLayers(const LayerBenchOptions& given,
                             const std::function<void(double, const std::string&)>& progress) {
  LayerBenchOptions options = given;
  const ModelLayer* model = options.model_layer.get();
  if (model) options.width = model->width;
  ThreadPool pool(options.threads);
  DenseSizes sizes = DenseSizesOf(options);
  if (!options.dense) sizes.rivals.clear(), sizes.narrow.clear();
  LayerBenchReport report{.options = options, .ceiling = {}, .full = sizes.full, .rows = {}};
  const size_t most = *std::max_element(options.token_counts.begin(), options.token_counts.end());
  // Batches take turns in it. Of layers so wide that checking them is slow it is no longer than needed.
  const size_t tokens = std::max<size_t>(most, options.width > 4096 ? 128 : 4096);
  const AlignedArray<float> random = RandomWeights(model ? 0 : tokens * options.width, 1, 42);
  const AlignedArray<float>& x = model ? model->x : random;
  const DenseRange range = model ? RangeOf(x) : DenseRange{};

  Makers makers;
  const auto add = [&](Makers more) { Append(std::move(more), makers); };
  for (const size_t neurons : sizes.rivals) add(Dense(options.width, neurons, options.precision, range, pool));
  const size_t rivals = makers.size();
  for (const size_t neurons : sizes.narrow) add(Dense(options.width, neurons, options.precision, range, pool));
  add(Trees(options, pool));

  report.ceiling = MeasureCeiling(Precision::kFp32, pool);
  if (options.precision) report.ceiling.flops_per_second = QuantizedFlops(*options.precision, pool);
  const double steps = static_cast<double>(makers.size() + options.token_counts.size());
  double done = 0;
  std::vector<std::shared_ptr<LayerContender>> layers;
  for (size_t i = makers.size(); i-- > 0;) {
    progress(done++ / steps, "making layers and checking them against the reference");
    std::shared_ptr<LayerContender> layer = makers[i]();
    if (!layer) continue;
    report.rows.push_back(CheckedRow(*layer, options, x, pool));
    report.rows.back().rival = i < rivals;
    layer->ForgetReference();
    layers.push_back(std::move(layer));
  }
  std::reverse(layers.begin(), layers.end());
  std::reverse(report.rows.begin(), report.rows.end());
  const CacheSweep sweep(!options.dense);
  for (const size_t count : options.token_counts) {
    progress(done++ / steps, "timing " + std::to_string(count) + (count == 1 ? " token" : " tokens"));
    const std::vector<Timing> timings = TimeBatch(layers, options, x, count, sweep, pool);
    for (size_t r = 0; r < timings.size(); ++r) report.rows[r].timings.push_back(timings[r]);
  }
  return report;
}

}  // namespace grove::bench
