// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/model_layer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "grove/bench/random_parameters.h"
#include "grove/data/text_reader.h"
#include "grove/io/model_directory.h"
#include "grove/model/feed_forward.h"
#include "grove/model/layer_parameters.h"
#include "grove/model/model.h"
#include "grove/quant/quantized_leaf_tree.h"
#include "grove/quant/quantized_neuron_tree.h"

namespace grove::bench {
namespace {

constexpr double kQuantizedTolerance = 1e-2;  // one hidden value that the kernels' float sums round to the next step

// Where a layer's parameters come from.
struct Source {
  const ParameterSource& parameters;
  FeedForwardNames names;
  FeedForwardConfig config;
  int64_t width = 0, layer = 0;
  std::optional<Quantization> precision;
  const ThreadPool& pool;

  Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const {
    if (shape.size() < 2) return parameters.Read(names.prefix + name, shape);
    const WeightsLayout layout{.shape = shape, .depth = SummedAxis(name)};
    GROVE_ASSIGN_OR_RETURN(Weights weights, parameters.ReadWeights(names.prefix + name, layout, Precision::kFp32));
    return std::move(weights.fp32);
  }
  Activation activation() const {
    return config.nonlinearity == NonLinearity::kRelu ? Activation::kRelu : Activation::kGelu;
  }
};

// Runs what the engine runs; derived classes know the oracle.
class EngineContender : public LayerContender {
 public:
  void Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const override {
    layer_->Forward(x, nullptr, tokens, y, arena_, pool);
  }
  // The paths that tokens take: the argument of CountVisits().
  virtual PathVisits Visits(const float* x, size_t tokens, ThreadPool& pool) const = 0;

 protected:
  explicit EngineContender(const Source& source)
      : width_(static_cast<size_t>(source.width)), precision_(source.precision) {
    name = DescribeFeedForward(source.config);
    if (precision_) tolerance = kQuantizedTolerance;
  }

  Status Load(const Source& source) {
    const Precision precision = !precision_                          ? Precision::kFp32
                                : *precision_ == Quantization::kBf16 ? Precision::kBf16
                                                                     : Precision::kInt8;
    GROVE_ASSIGN_OR_RETURN(layer_, LoadFeedForward(source.parameters, source.names, source.config, source.width,
                                                   source.layer, source.pool, precision));
    return Ok{};
  }
  // Rows of the layer's neurons, and of routing, which stays fp32.
  void CountBytes(size_t neuron_rows, size_t routing_rows) {
    const size_t value = !precision_ ? 4 : *precision_ == Quantization::kBf16 ? 2 : 1;
    weight_bytes = width_ * (neuron_rows * value + routing_rows * sizeof(float));
  }

  size_t width_;
  std::optional<Quantization> precision_;

 private:
  std::unique_ptr<FeedForward> layer_;
  mutable Arena arena_;
};

class ModelNeuronTree : public EngineContender {
 public:
  static Result<std::shared_ptr<EngineContender>> Make(const Source& source) {
    auto made = std::shared_ptr<ModelNeuronTree>(new ModelNeuronTree(source));
    const NeuronTreeShape& shape = made->shape_;
    const int64_t nodes = static_cast<int64_t>(shape.nodes()), width = source.width;
    GROVE_ASSIGN_OR_RETURN(made->in_, source.Read("linear_in.weight", {nodes, width}));
    GROVE_ASSIGN_OR_RETURN(made->bias_, source.Read("linear_in.bias", {nodes}));
    GROVE_ASSIGN_OR_RETURN(made->out_, source.Read("linear_out.weight", {width, nodes}));
    if (shape.two_sided) {
      GROVE_ASSIGN_OR_RETURN(made->left_, source.Read("linear_out_left.weight", {width, nodes}));
    }
    GROVE_RETURN_IF_ERROR(made->Load(source));
    return {std::move(made)};
  }

  void Reference(const float* x, size_t tokens, float* y) const override {
    if (precision_) return QuantizedNeuronTreeReference(shape_, weights(), *precision_, x, tokens, y);
    NeuronTreeForwardReference(shape_, weights(), x, tokens, y, nullptr);
  }
  PathVisits Visits(const float* x, size_t tokens, ThreadPool& pool) const override {
    const size_t trees = shape_.trees, levels = shape_.levels(), paths = size_t{1} << shape_.depth;
    std::vector<uint32_t> nodes(tokens * trees * levels), ends(tokens * trees);
    std::vector<float> logits(nodes.size());
    AlignedArray<float> y(tokens * width_);
    const NeuronTreeTrace trace{nodes.data(), logits.data()};
    NeuronTreeForward(PackedNeuronTree(shape_, weights()), x, tokens, y.data(), &trace, pool);
    for (size_t i = 0; i < ends.size(); ++i) {
      const size_t tree = i % trees, bottom = nodes[(i + 1) * levels - 1] - tree * shape_.nodes_per_tree();
      ends[i] = static_cast<uint32_t>(tree * paths + bottom - (paths - 1));
    }
    return CountVisits(ends, trees, 1, paths);
  }

 private:
  explicit ModelNeuronTree(const Source& source)
      : EngineContender(source),
        shape_{.width = width_,
               .trees = static_cast<size_t>(source.config.trees),
               .depth = static_cast<size_t>(source.config.depth),
               .activation = source.activation(),
               .two_sided = source.config.two_sided} {
    stored = shape_.nodes();
    active = shape_.trees * shape_.levels();
    sides = shape_.two_sided ? 2 : 1;
    CountBytes(stored * (1 + sides), 0);
  }
  NeuronTreeWeights weights() const { return {in_.data(), bias_.data(), out_.data(), left_.data()}; }

  NeuronTreeShape shape_;
  AlignedArray<float> in_, bias_, out_, left_;
};

class ModelLeafTree : public EngineContender {
 public:
  static Result<std::shared_ptr<EngineContender>> Make(const Source& source, const float* x, size_t tokens) {
    auto made = std::shared_ptr<ModelLeafTree>(new ModelLeafTree(source));
    const int64_t leaves = source.config.trees << source.config.depth, decisions = leaves - source.config.trees;
    const int64_t width = source.width, leaf = source.config.leaf_width;
    GROVE_ASSIGN_OR_RETURN(made->nodes_, source.Read("node_weights", {decisions, width}));
    GROVE_ASSIGN_OR_RETURN(made->biases_, source.Read("node_biases", {decisions, 1}));
    GROVE_ASSIGN_OR_RETURN(made->w1_, source.Read("w1s", {leaves, width, leaf}));
    GROVE_ASSIGN_OR_RETURN(made->b1_, source.Read("b1s", {leaves, leaf}));
    GROVE_ASSIGN_OR_RETURN(made->w2_, source.Read("w2s", {leaves, leaf, width}));
    GROVE_ASSIGN_OR_RETURN(made->b2_, source.Read("b2s", {leaves, width}));
    GROVE_RETURN_IF_ERROR(made->Load(source));
    made->decisions = MeanDecisions(made->router_, made->router_weights(), x, std::min<size_t>(tokens, 1024));
    return {std::move(made)};
  }

  void Reference(const float* x, size_t tokens, float* y) const override {
    if (precision_) {
      return LeafTreeReference(router_, router_weights(), leaves_, leaf_weights(), *precision_, x, tokens, y);
    }
    const size_t n = router_.leaves_per_token();
    std::vector<uint32_t> chosen(tokens * n);
    std::vector<double> gates(chosen.size());
    RouteLeavesReference(router_, router_weights(), x, tokens, chosen.data(), gates.data());
    GatedExpertsReference(leaves_, leaf_weights(), x, tokens, chosen.data(), gates.data(), n, y);
  }
  PathVisits Visits(const float* x, size_t tokens, ThreadPool& pool) const override {
    std::vector<uint32_t> chosen(tokens * router_.leaves_per_token());
    std::vector<float> gates(chosen.size());
    RouteLeaves(PackedLeafRouter(router_, router_weights()), x, tokens, {chosen.data(), gates.data()}, pool);
    return CountVisits(chosen, router_.trees, router_.paths, router_.leaves());
  }

 private:
  explicit ModelLeafTree(const Source& source)
      : EngineContender(source),
        router_{.width = width_,
                .trees = static_cast<size_t>(source.config.trees),
                .depth = static_cast<size_t>(source.config.depth),
                .paths = static_cast<size_t>(source.config.paths),
                .decision_scale = static_cast<float>(source.config.decision_scale),
                .gates = source.config.gates == GateKind::kProbability ? Gates::kProbability : Gates::kRenormalized},
        leaves_{.experts = router_.trees * router_.leaves(),
                .in_width = width_,
                .hidden_width = static_cast<size_t>(source.config.leaf_width),
                .out_width = width_,
                .activation = source.activation()} {
    stored = leaves_.experts * leaves_.hidden_width;
    active = router_.leaves_per_token() * leaves_.hidden_width;
    CountBytes(2 * stored + leaves_.experts, router_.trees * router_.decisions());
  }
  LeafRouterWeights router_weights() const { return {nodes_.data(), biases_.data()}; }
  ExpertsWeights leaf_weights() const { return {w1_.data(), b1_.data(), w2_.data(), b2_.data()}; }

  LeafRouterShape router_;
  ExpertsShape leaves_;
  AlignedArray<float> nodes_, biases_, w1_, b1_, w2_, b2_;
};

bool OwnLogitsDecide(const FeedForwardConfig& config) {
  return config.routing == TreeRouting::kHard || config.routing == TreeRouting::kStraightThrough;
}

Status CheckKind(const std::string& model, int64_t layer, const FeedForwardConfig& config) {
  const bool tree = config.kind == FeedForwardKind::kLeafTree ||
                    (config.kind == FeedForwardKind::kNeuronTree && OwnLogitsDecide(config));
  if (tree) return Ok{};
  return Error(ErrorCode::kUnsupported,
               "layer " + std::to_string(layer) + " of " + model + " is " + DescribeFeedForward(config) +
                   "; the bench takes leaf trees, and neuron trees that their own logits route");
}

Result<std::shared_ptr<EngineContender>> MakeContender(const Source& source, const float* x, size_t tokens) {
  if (source.config.kind == FeedForwardKind::kNeuronTree) return ModelNeuronTree::Make(source);
  return ModelLeafTree::Make(source, x, tokens);
}

Result<int64_t> LayerNumber(const ModelLayerOptions& options, const ModelConfig& config) {
  const int64_t layer = options.layer.value_or(config.layers / 2);
  if (layer >= 0 && layer < config.layers) return layer;
  return Error(ErrorCode::kInvalidArgument, options.model + " has layers 0 to " + std::to_string(config.layers - 1) +
                                                "; layer " + std::to_string(layer) + " is none of them");
}

// The text's tokens one after the other, without special ones; at least `wanted` if the text has as many.
Result<std::vector<int32_t>> ReadTokens(const std::vector<std::string>& texts, const Tokenizer& tokenizer,
                                        size_t wanted) {
  GROVE_ASSIGN_OR_RETURN(TextReader reader, TextReader::Open(texts));
  std::vector<int32_t> ids;
  std::string document;
  while (ids.size() < wanted) {
    GROVE_ASSIGN_OR_RETURN(const bool more, reader.Next(&document));
    if (!more) break;
    Result<Encoding> encoding = tokenizer.Encode(document, {.add_special_tokens = false});
    if (!encoding.ok()) return Error(encoding.error().code(), reader.file() + ": " + encoding.error().message());
    ids.insert(ids.end(), encoding.value().ids.begin(), encoding.value().ids.end());
  }
  return ids;
}

// What enters layer `number` while the model reads: sequences as long as it takes, each [CLS] text [SEP].
Result<AlignedArray<float>> HiddenStates(const ModelLayerOptions& options, const LoadedModel& model,
                                         const std::vector<float>& seen, std::span<const int32_t> ids) {
  const auto longest = static_cast<size_t>(model.config().max_length);
  const size_t body = std::max<size_t>(longest, 3) - 2;
  Arena arena;
  AlignedArray<float> hidden(longest * static_cast<size_t>(model.config().width));
  const auto width = static_cast<size_t>(model.config().width);
  for (size_t begin = 0; begin < ids.size() && seen.size() < options.tokens * width; begin += body) {
    const auto part = ids.subspan(begin, std::min(body, ids.size() - begin));
    std::vector<int32_t> sequence{model.tokenizer->cls_id()};
    sequence.insert(sequence.end(), part.begin(), part.end());
    sequence.push_back(model.tokenizer->sep_id());
    GROVE_RETURN_IF_ERROR(
        model.encoder.Forward({.ids = sequence, .batch = 1, .length = sequence.size()}, arena, hidden.data()));
  }
  const size_t tokens = std::min(seen.size() / width, options.tokens);
  if (tokens < options.at_least) {
    return Error(ErrorCode::kInvalidArgument, "the text gives " + std::to_string(tokens) +
                                                  " tokens and the bench needs " + std::to_string(options.at_least) +
                                                  "; give more text or smaller batches");
  }
  AlignedArray<float> x(tokens * width);
  std::copy_n(seen.begin(), x.size(), x.data());
  return x;
}

}  // namespace

PathVisits CountVisits(std::span<const uint32_t> ends, size_t trees, size_t per_token, size_t paths) {
  PathVisits visits{.paths = paths, .per_token = per_token};
  std::vector<size_t> counts(trees * paths);
  for (const uint32_t end : ends) ++counts[end];
  const size_t tokens = ends.size() / (trees * per_token);
  for (size_t k = 0; k < trees; ++k) {
    const auto tree = std::span(counts).subspan(k * paths, paths);
    visits.most_visited += static_cast<double>(*std::ranges::max_element(tree)) / static_cast<double>(tokens * trees);
    visits.never += static_cast<double>(std::ranges::count(tree, 0u)) / static_cast<double>(paths * trees);
    for (const size_t count : tree) {
      const double share = static_cast<double>(count) / static_cast<double>(tokens * per_token);
      if (count != 0) visits.entropy_bits -= share * std::log2(share) / static_cast<double>(trees);
    }
  }
  return visits;
}

Result<ModelLayer> ReadModelLayer(const ModelLayerOptions& options) {
  ThreadPool pool(options.threads);
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(options.model));
  const ModelConfig& config = directory.config;
  GROVE_ASSIGN_OR_RETURN(const int64_t number, LayerNumber(options, config));
  FeedForwardConfig feed_forward = config.FeedForwardOf(number);
  GROVE_RETURN_IF_ERROR(CheckKind(options.model, number, feed_forward));

  const bool alone = std::exchange(feed_forward.always_on, 0) > 0;

  ModelLayer layer;
  layer.model = options.model, layer.number = number, layer.width = static_cast<size_t>(config.width);
  std::vector<float> seen;
  const auto observe = [&](int64_t index, const float* x, size_t tokens) {
    if (index == number) seen.insert(seen.end(), x, x + tokens * layer.width);
  };
  GROVE_ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(options.model, &pool, {.encoder = {.observe = observe}}));
  GROVE_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadTokens(options.texts, *model.tokenizer, options.tokens));
  GROVE_ASSIGN_OR_RETURN(layer.x, HiddenStates(options, model, seen, ids));

  const size_t tokens = layer.x.size() / layer.width;
  const FileParameters stored(directory.weights, config);
  const RandomParameters random;
  const auto make = [&](const ParameterSource& parameters) {
    const Source source{.parameters = parameters,
                        .names = LayerNamesOf(config, number).feed_forward,
                        .config = feed_forward,
                        .width = config.width,
                        .layer = number,
                        .precision = options.precision,
                        .pool = pool};
    return MakeContender(source, layer.x.data(), tokens);
  };
  GROVE_ASSIGN_OR_RETURN(const std::shared_ptr<EngineContender> trained, make(stored));
  GROVE_ASSIGN_OR_RETURN(const std::shared_ptr<EngineContender> untrained, make(random));
  if (alone) trained->name += ", the tree alone";
  untrained->name = "same shape, random weights";
  layer.visits = trained->Visits(layer.x.data(), tokens, pool);
  layer.untrained_visits = untrained->Visits(layer.x.data(), tokens, pool);
  layer.trained = trained, layer.untrained = untrained;
  return layer;
}

}  // namespace grove::bench
