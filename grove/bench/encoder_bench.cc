// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/bench/encoder_bench.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <utility>

#include "grove/base/check.h"
#include "grove/bench/encoder_cost.h"
#include "grove/bench/random_parameters.h"
#include "grove/io/model_directory.h"
#include "grove/model/encoder.h"

namespace grove::bench {
namespace {

struct Side {
  std::string name;
  std::unique_ptr<Encoder> encoder;
};

FeedForwardConfig LayerOf(const std::string& kind) {
  if (kind == "dense") return {.kind = FeedForwardKind::kDense, .intermediate = 3072};
  if (kind == "dense_128") return {.kind = FeedForwardKind::kDense, .intermediate = 128};
  if (kind == "leaf_tree") return {.kind = FeedForwardKind::kLeafTree, .depth = 7, .leaf_width = 32, .paths = 4};
  if (kind == "neuron_tree") return {.kind = FeedForwardKind::kNeuronTree, .trees = 16, .depth = 7};
  GROVE_CHECK(kind == "none");
  return {.kind = FeedForwardKind::kNone};
}

// BERT's shape: post-norm, learnt positions, biases.
ModelConfig ConfigOf(const EncoderBenchOptions& options, const std::string& kind) {
  ModelConfig config;
  config.family = ModelFamily::kBert;
  config.vocabulary = 8192;  // rows that are looked up, not multiplied
  config.width = options.width;
  config.layers = options.layers;
  config.heads = options.heads;
  config.max_length = static_cast<int64_t>(options.length);
  config.position = PositionKind::kLearned;
  config.final_norm = false;
  config.token_types = 2;
  config.head.kind = HeadKind::kNone;
  config.feed_forward = LayerOf(kind);
  return config;
}

// Before minutes go by.
Status CheckLimits(const EncoderBenchOptions& options, const std::vector<Side>& sides) {
  for (const Side& side : sides) {
    if (options.length <= static_cast<size_t>(side.encoder->config().max_length)) continue;
    return Error(ErrorCode::kInvalidArgument, side.name + " takes at most " +
                                                  std::to_string(side.encoder->config().max_length) +
                                                  " tokens; give --length a number up to that");
  }
  return Ok{};
}

Result<std::vector<Side>> LoadSides(const EncoderBenchOptions& options, ThreadPool& pool,
                                    const std::function<void(double, const std::string&)>& progress) {
  std::vector<Side> sides;
  const EncoderOptions encoder_options{.precision = options.precision};
  const std::vector<std::string>& names = options.models.empty() ? options.kinds : options.models;
  for (const std::string& name : names) {
    progress(0.1 * static_cast<double>(sides.size()) / static_cast<double>(names.size()), "loading " + name);
    if (options.models.empty()) {
      GROVE_ASSIGN_OR_RETURN(Encoder encoder,
                             Encoder::Load(RandomParameters(), ConfigOf(options, name), &pool, encoder_options));
      sides.push_back({name, std::make_unique<Encoder>(std::move(encoder))});
      continue;
    }
    GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(name));
    GROVE_ASSIGN_OR_RETURN(Encoder encoder, Encoder::Load(directory, &pool, encoder_options));
    sides.push_back({name, std::make_unique<Encoder>(std::move(encoder))});
  }
  GROVE_RETURN_IF_ERROR(CheckLimits(options, sides));
  return sides;
}

// Sequences padded to one length; the same mask in every round, other ids.
class Inputs {
 public:
  Inputs(const EncoderBenchOptions& options, size_t batch, int64_t vocabulary)
      : batch_(batch), length_(options.length), vocabulary_(vocabulary) {
    for (size_t b = 0; b < batch; ++b) {
      const size_t low = std::min<size_t>(8, length_), steps = std::max<size_t>(batch - 1, 1);
      lengths_.push_back(options.ragged ? low + (length_ - low) * (batch == 1 ? 1 : b) / steps : length_);
      for (size_t t = 0; t < length_; ++t) mask_.push_back(t < lengths_.back() ? 1 : 0);
    }
    ids_.resize(mask_.size());
  }

  const std::vector<size_t>& lengths() const { return lengths_; }

  TokenBatch Round(size_t round) {
    std::mt19937 random(static_cast<uint32_t>(round));
    for (int32_t& id : ids_) id = static_cast<int32_t>(random() % static_cast<uint32_t>(vocabulary_));
    return {.ids = ids_, .mask = mask_, .batch = batch_, .length = length_};
  }

 private:
  size_t batch_, length_;
  int64_t vocabulary_;
  std::vector<size_t> lengths_;
  std::vector<uint8_t> mask_;
  std::vector<int32_t> ids_;
};

void BenchBatch(const std::vector<Side>& sides, size_t batch, EncoderBenchReport& report) {
  int64_t vocabulary = sides[0].encoder->config().vocabulary;
  for (const Side& side : sides) vocabulary = std::min(vocabulary, side.encoder->config().vocabulary);
  Inputs inputs(report.options, batch, vocabulary);
  const TokenBatch shown = inputs.Round(0);
  Arena arena;
  std::vector<AlignedArray<float>> hidden;
  std::vector<Contender> contenders;
  hidden.reserve(sides.size());
  contenders.reserve(sides.size());
  for (const Side& side : sides) {
    hidden.emplace_back(shown.ids.size() * static_cast<size_t>(side.encoder->config().width));
  }
  for (size_t s = 0; s < sides.size(); ++s) {
    contenders.push_back(
        {[&, s](size_t) { GROVE_CHECK(sides[s].encoder->Forward(shown, arena, hidden[s].data()).ok()); },
         [&](size_t round) { inputs.Round(round); }});
  }
  const std::vector<Timing> timings = TimeInterleaved(contenders, {.seconds = report.options.seconds});
  size_t tokens = 0;
  for (const size_t length : inputs.lengths()) tokens += length;
  report.tokens.push_back(tokens);
  for (size_t s = 0; s < sides.size(); ++s) {
    EncoderBenchRow& row = report.rows[s];
    const EncoderCost cost = CostOf(sides[s].encoder->config(), row.precision, inputs.lengths());
    row.weight_bytes = static_cast<size_t>(cost.weight_bytes);
    row.flops_per_token.push_back(cost.flops / static_cast<double>(tokens));
    row.bytes_per_token.push_back(cost.bytes / static_cast<double>(tokens));
    row.timings.push_back(timings[s]);
    row.roofline_share.push_back(RooflineSeconds(row.ceiling, cost.flops, cost.bytes) / timings[s].median);
  }
}

}  // namespace

const std::vector<std::string>& EncoderBenchKinds() {
  static const std::vector<std::string> kinds = {"dense", "dense_128", "leaf_tree", "neuron_tree", "none"};
  return kinds;
}

Result<EncoderBenchReport> BenchEncoders(const EncoderBenchOptions& options,
                                         const std::function<void(double, const std::string&)>& progress) {
  ThreadPool pool(options.threads);
  GROVE_ASSIGN_OR_RETURN(const std::vector<Side> sides, LoadSides(options, pool, progress));
  EncoderBenchReport report{.options = options, .tokens = {}, .rows = {}};
  for (const Side& side : sides) {
    report.rows.push_back({.name = side.name,
                           .feed_forward = DescribeFeedForward(side.encoder->config()),
                           .precision = side.encoder->precision()});
  }
  progress(0.1, "the machine's ceiling");
  std::map<Precision, MachineCeiling> ceilings;
  for (EncoderBenchRow& row : report.rows) {
    if (!ceilings.contains(row.precision)) ceilings[row.precision] = MeasureCeiling(row.precision, pool);
    row.ceiling = ceilings[row.precision];
  }
  for (size_t i = 0; i < options.batches.size(); ++i) {
    progress(0.1 + 0.9 * static_cast<double>(i) / static_cast<double>(options.batches.size()),
             "batch " + std::to_string(options.batches[i]));
    BenchBatch(sides, options.batches[i], report);
  }
  progress(1.0, "done");
  return report;
}

}  // namespace grove::bench
