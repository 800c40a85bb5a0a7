// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/dry_run.h"

#include "grove/nn/parameters.h"

namespace grove::train {
namespace {

constexpr int64_t kMostSteps = 100'000'000;  // a minute budget of a step that takes no time

}  // namespace

Progress RunToTheEnd(const PretrainOptions& options, double tokens_per_sequence, double seconds_per_sequence) {
  Progress progress;
  double tokens = 0;
  for (double fraction = 0; fraction < 1.0 && progress.step < kMostSteps;
       fraction = BudgetFraction(options, progress)) {
    const int64_t sequences = MicroBatches(options, fraction) * options.MicroBatch();
    progress.sequences += sequences;
    tokens += static_cast<double>(sequences) * tokens_per_sequence;
    progress.tokens = static_cast<int64_t>(tokens);
    progress.seconds += static_cast<double>(sequences) * seconds_per_sequence;
    ++progress.step;
  }
  return progress;
}

double TrainingFlopPerToken(const ModelConfig& config, int64_t length, double mask_share) {
  const double width = static_cast<double>(config.width);
  // Four projections, and the products of queries and keys, weights and values.
  const double attention = 8 * width * width + 4 * static_cast<double>(length) * width;
  double feed_forward = 0;  // of all layers
  for (int64_t i = 0; i < config.layers; ++i) {
    const FeedForwardConfig& layer = config.FeedForwardOf(i);
    const bool glu = layer.kind == FeedForwardKind::kDense && layer.nonlinearity == NonLinearity::kGeluGlu;
    feed_forward += (glu ? 3 : 4) * width * static_cast<double>(layer.ActiveNeurons());
  }
  const double decoder = mask_share * 2 * width * static_cast<double>(config.vocabulary);
  return 3 * (static_cast<double>(config.layers) * attention + feed_forward + decoder);
}

DryRunReport PredictRun(const PretrainOptions& options, const ModelConfig& config, const StepTiming& timing,
                        const Compute& compute, Objective& objective) {
  const double step_seconds = timing.seconds / timing.share;
  const double sequences = static_cast<double>(timing.sequences);
  const Progress whole = RunToTheEnd(options, static_cast<double>(timing.tokens) / sequences, step_seconds / sequences);
  DryRunReport report;
  report.parameters = nn::CountParameters(objective.model());
  report.steps = whole.step;
  report.tokens = whole.tokens;
  const int64_t validations = 1 + (options.validate_every > 0 ? whole.step / options.validate_every : 0);
  report.seconds = options.minutes > 0 ? 60 * options.minutes
                                       : whole.seconds + static_cast<double>(validations) * timing.validation_seconds;
  report.tokens_per_second = static_cast<double>(timing.tokens) / step_seconds;
  report.flop_per_token = TrainingFlopPerToken(config, options.length, options.mask_share);
  if (compute.peak_flops > 0)
    report.utilization = report.tokens_per_second * report.flop_per_token / compute.peak_flops;
  report.on_gpu = compute.device.is_cuda();
  report.memory_bytes = PeakMemoryBytes(compute);
  const int64_t trained = nn::CountParameters(objective.trained());
  report.checkpoint_bytes = static_cast<uint64_t>(trained) * 3 * sizeof(float);  // parameters and two moments
  report.step_tokens = timing.tokens;
  report.step_seconds = step_seconds;
  report.measured_share = timing.share;
  report.device = compute.name;
  return report;
}

}  // namespace grove::train
