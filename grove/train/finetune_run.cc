// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/finetune_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>
#include <utility>

#include "grove/nn/parameters.h"
#include "grove/train/replica_group.h"

namespace grove::train {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNoClip = 1e9;

class Run {
 public:
  Run(const FinetuneParts& parts, int64_t seed, RunLog& log, const std::function<void(const RunProgress&)>& report)
      : parts_(parts), options_(parts.options), log_(log), report_(report) {
    progress_.seed = seed;
    const auto rows = static_cast<int64_t>(parts.train.examples.size());
    progress_.steps = options_.epochs * ((rows + options_.batch - 1) / options_.batch);
  }

  Result<RunResult> Execute() {
    GROVE_RETURN_IF_ERROR(Begin());
    RunResult result{progress_.seed, {}, {}, 0, model_};
    for (int64_t epoch = 0; epoch < options_.epochs; ++epoch) {
      GROVE_ASSIGN_OR_RETURN(result.loss, Epoch(epoch));
      result.scores = Score();
      result.epoch_scores.push_back(result.scores.score);
      progress_.epoch = epoch + 1;
      progress_.scores = &result.scores;
      report_(progress_);
      GROVE_RETURN_IF_ERROR(LogEpoch(result));
    }
    return result;
  }

 private:
  Status Begin();
  Result<double> Epoch(int64_t epoch);
  torch::Tensor Step(const std::vector<size_t>& batch);
  torch::Tensor Share(nn::TextModel& model, std::span<const size_t> examples, double units);
  Status ReportLoss(double loss);
  TaskScores Score();
  Status LogEpoch(const RunResult& result);

  double Rate() const {
    return options_.learning_rate * FinetuneRateFactor(progress_.step, progress_.steps, options_.warmup);
  }
  uint64_t DropoutKey(size_t replica) const {
    return (static_cast<uint64_t>(progress_.seed) * 1'000'003 + static_cast<uint64_t>(progress_.step)) * 1'000'003 +
           replica;
  }

  const FinetuneParts& parts_;
  const FinetuneOptions& options_;
  RunLog& log_;
  const std::function<void(const RunProgress&)>& report_;
  std::shared_ptr<nn::TextModel> model_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<ReplicaGroup<nn::TextModel>> replicas_;
  RunProgress progress_;
};

Status Run::Begin() {
  const nn::ModuleOptions module_options{.balance = options_.balance, .hardening = options_.hardening};
  torch::manual_seed(static_cast<uint64_t>(progress_.seed));
  GROVE_ASSIGN_OR_RETURN(model_, MakeTaskModel(parts_.config, parts_.pretrained, module_options));
  model_->to(parts_.compute.device);
  optimizer_ = std::make_unique<AdamW>(
      *model_, AdamWOptions{options_.beta1, options_.beta2, options_.epsilon, options_.weight_decay,
                            options_.clip > 0 ? options_.clip : kNoClip});
  const auto make = [&] { return nn::MakeTextModel(parts_.config, module_options); };
  replicas_ = std::make_unique<ReplicaGroup<nn::TextModel>>(model_, *optimizer_, parts_.compute.replicas, make);
  // What a layer changes over its pretraining has reached its end.
  for (size_t i = 0; i < replicas_->size(); ++i) nn::SetBudgetFraction((*replicas_)[i], 1.0);
  return Ok{};
}

// The mean loss of the epoch's batches.
Result<double> Run::Epoch(int64_t epoch) {
  replicas_->SetTraining(true);
  torch::Tensor recent = torch::zeros({}, parts_.compute.device);
  double sum = 0;
  int64_t pending = 0, steps = 0;
  const auto batches = EpochBatches(parts_.train, options_.batch, static_cast<uint64_t>(progress_.seed), epoch);
  for (const std::vector<size_t>& batch : batches) {
    recent += Step(batch);
    ++pending;
    ++steps;
    if (progress_.step % options_.log_every != 0 && static_cast<size_t>(steps) != batches.size()) continue;
    const double loss = recent.item<double>();  // waits for the device
    sum += loss;
    GROVE_RETURN_IF_ERROR(ReportLoss(loss / static_cast<double>(pending)));
    recent.zero_();
    pending = 0;
  }
  return sum / static_cast<double>(steps);
}

// One optimizer step; the batch's mean loss, a scalar on the device.
torch::Tensor Run::Step(const std::vector<size_t>& batch) {
  const size_t count = std::min(replicas_->size(), batch.size());
  const auto units = static_cast<double>(std::max<int64_t>(parts_.train.Units(batch), 1));
  std::vector<torch::Tensor> losses(count);
  replicas_->ForEach([&](size_t replica) {
    if (replica >= count) return;
    const size_t first = batch.size() * replica / count, last = batch.size() * (replica + 1) / count;
    std::optional<nn::DropoutSeed> seed;
    if (parts_.compute.device.is_cpu()) seed.emplace(DropoutKey(replica));
    losses[replica] = Share((*replicas_)[replica], std::span(batch).subspan(first, last - first), units);
  });
  replicas_->GatherGradients();
  optimizer_->Step(Rate());
  optimizer_->ZeroGradients();
  ++progress_.step;
  torch::Tensor loss = losses[0];
  for (size_t i = 1; i < count; ++i) loss = loss + losses[i];
  return loss;
}

// Adds the gradients of a share of the batch; returns its part of the batch's mean loss.
torch::Tensor Run::Share(nn::TextModel& model, std::span<const size_t> examples, double units) {
  const bool pinned = parts_.compute.device.is_cuda();
  const TaskBatch batch = MakeTaskBatch(parts_.train, examples, parts_.config.pad_id, pinned).To(parts_.compute.device);
  torch::Tensor loss, mean;
  {
    const nn::AutocastScope autocast(parts_.compute.bf16);
    const nn::EncoderOutput encoded = model.Encode(batch.input, nullptr);
    mean = TaskLossSum(model.Logits(encoded.hidden, batch.input.attention_mask, batch.positions), batch) / units;
    loss = mean;
    if (encoded.regularizer.defined()) {
      loss = loss + encoded.regularizer * (static_cast<double>(parts_.train.Units(examples)) / units);
    }
  }
  loss.backward();
  return mean.detach();
}

Status Run::ReportLoss(double loss) {
  if (!std::isfinite(loss)) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("the loss of seed {} is not finite after step {}; lower "
                                                          "--learning-rate",
                                                          progress_.seed, progress_.step));
  }
  progress_.loss = loss;
  report_(progress_);
  return log_.Write(
      {{"event", "step"}, {"seed", progress_.seed}, {"step", progress_.step}, {"loss", loss}, {"rate", Rate()}});
}

TaskScores Run::Score() {
  std::vector<AnsweredSet> sets;
  for (const DevelopmentSet& dev : parts_.dev) {
    sets.push_back(
        {&dev.data, Answer(*model_, dev.data, parts_.config.pad_id, parts_.compute, *parts_.pool), dev.suffix});
  }
  return ScoreAnswers(parts_.metrics, sets);
}

Status Run::LogEpoch(const RunResult& result) {
  Json line{{"event", "epoch"},       {"seed", progress_.seed}, {"epoch", progress_.epoch},
            {"step", progress_.step}, {"loss", result.loss},    {"score", result.scores.score}};
  for (const auto& [name, value] : result.scores.values) line[name] = value;
  return log_.Write(line);
}

}  // namespace

double FinetuneRateFactor(int64_t step, int64_t steps, double warmup) {
  const double rise = warmup * static_cast<double>(steps), at = static_cast<double>(step);
  if (at < rise) return (at + 1) / (std::floor(rise) + 1);
  const double left = (at - rise) / std::max(static_cast<double>(steps) - rise, 1.0);
  return 0.5 * (1 + std::cos(std::numbers::pi * std::min(left, 1.0)));
}

Result<RunResult> RunFinetuning(const FinetuneParts& parts, int64_t seed, RunLog& log,
                                const std::function<void(const RunProgress&)>& report) {
  Run run(parts, seed, log, report);
  return run.Execute();
}

}  // namespace grove::train
