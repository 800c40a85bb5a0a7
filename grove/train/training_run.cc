// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/training_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "grove/base/clock.h"
#include "grove/io/files.h"
#include "grove/nn/parameters.h"
#include "grove/train/dry_run.h"
#include "grove/train/initialization.h"

namespace grove::train {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kBatchesAhead = 8;
constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kTryOutSeconds = 60;  // of one step: what is left is estimated

}  // namespace

Result<RunParts> MakeParts(const PretrainOptions& options, const PretrainContext& context, const TrainingTask& task,
                           Compute compute, TrainingData data) {
  torch::manual_seed(static_cast<uint64_t>(options.seed));
  const auto objective = task.make();
  GROVE_RETURN_IF_ERROR(Initialize(objective->model(), options.init));
  objective->trained().to(compute.device);
  const UnitOptions units{
      .rate_power = options.unit_rate_power, .lazy = options.lazy_units, .ancestors = options.ancestor_steps};
  GROVE_RETURN_IF_ERROR(CheckAncestors(objective->trained(), units));
  auto optimizer = std::make_unique<AdamW>(
      objective->trained(),
      AdamWOptions{options.beta1, options.beta2, options.epsilon, options.weight_decay, options.clip, units});
  auto replicas = std::make_unique<Replicas>(objective, *optimizer, compute.replicas, task.make);
  RoutingMonitor routing(replicas->FeedForwards(), {.few_tokens = options.few_tokens, .every_step = units.by_use()});
  std::unique_ptr<GradientSums> sums;
  if (context.group != nullptr) {
    sums = std::make_unique<GradientSums>(*context.group, objective->trained(), *optimizer);
  }
  return RunParts{std::move(compute),  std::move(data), objective,         std::move(optimizer),
                  std::move(replicas), std::move(sums), std::move(routing)};
}

TrainingRun::TrainingRun(const PretrainOptions& options, const PretrainContext& context, const TrainingTask& task,
                         RunParts parts, std::optional<RunLog> log)
    : options_(options),
      context_(context),
      task_(task),
      parts_(std::move(parts)),
      record_(task, context.observer, std::move(log)),
      loss_sum_(torch::zeros({}, parts_.compute.device)) {}

Result<PretrainSummary> TrainingRun::Execute() {
  GROVE_RETURN_IF_ERROR(Begin());
  started_ = NowSeconds() - progress_.seconds;
  reported_ = progress_;
  ReadValidationBatches();
  GROVE_RETURN_IF_ERROR(Loop());
  if (stopped_) return PretrainSummary{.finished = false, .progress = progress_, .validation_loss = validation_loss_};
  return Finish();
}

void TrainingRun::ReadValidationBatches() {
  for (const Batch& batch : parts_.data.ValidationBatches(options_.validation_sequences)) {
    validation_.push_back(batch.To(parts_.compute.device));
  }
}

void TrainingRun::OpenStream() {
  const auto make = [this](int64_t number) { return parts_.data.TrainBatch(number); };
  const int64_t full = options_.batch / options_.MicroBatch();  // a step draws all of its micro-batches at once
  stream_ = std::make_unique<BatchStream>(make, progress_.sequences / options_.MicroBatch(),
                                          static_cast<size_t>(full) + kBatchesAhead);
}

Status TrainingRun::Begin() {
  std::optional<CheckpointState> state;
  Status restored = Ok{};
  if (first() && context_.resume) {
    Result<std::optional<CheckpointState>> result = Restore();
    if (result.ok()) {
      state = std::move(result).value();
    } else {
      restored = result.error();
    }
  }
  if (first() && restored.ok() && progress_.step == 0 && task_.initialize) {
    restored = task_.initialize(parts_.objective->model());
  }
  if (group() != nullptr) restored = group()->meeting().Agree(restored);
  GROVE_RETURN_IF_ERROR(restored);
  if (group() != nullptr) GROVE_RETURN_IF_ERROR(Share(state));
  GROVE_RETURN_IF_ERROR(record_.CutTo(state ? state->log_bytes : 0));
  if (progress_.step > 0) return Ok{};
  return record_.Start(parts_.compute, parts_.data, parts_.objective->model());
}

// From the newest checkpoint, if there is one.
Result<std::optional<CheckpointState>> TrainingRun::Restore() {
  std::vector<std::string> warnings;
  GROVE_ASSIGN_OR_RETURN(
      auto state, LoadNewestCheckpoint(CheckpointFolder(), parts_.objective->trained(), *parts_.optimizer, &warnings));
  for (const std::string& warning : warnings) record_.Notice(warning + "; using the one before it");
  if (!state) {
    record_.Notice("no checkpoint to resume from; starting at step 0");
    return state;
  }
  GROVE_RETURN_IF_ERROR(CheckSameRun(task_.options, Json::parse(state->options)));
  progress_ = state->progress;
  loss_sum_.fill_(state->loss_sum);
  loss_steps_ = state->loss_steps;
  record_.Notice(fmt::format("resuming at step {}", progress_.step));
  return state;
}

// All ranks start from rank 0's state: only its machine needs the checkpoints.
Status TrainingRun::Share(const std::optional<CheckpointState>& state) {
  const Json json{{"step", progress_.step},
                  {"tokens", progress_.tokens},
                  {"sequences", progress_.sequences},
                  {"seconds", progress_.seconds},
                  {"loss_steps", state ? state->loss_steps : 0}};
  GROVE_ASSIGN_OR_RETURN(const std::string text, group()->meeting().FromFirst(json.dump()));
  const Json shared = Json::parse(text);
  progress_ = {.step = shared["step"].get<int64_t>(),
               .tokens = shared["tokens"].get<int64_t>(),
               .sequences = shared["sequences"].get<int64_t>(),
               .seconds = shared["seconds"].get<double>()};
  loss_steps_ = shared["loss_steps"].get<int64_t>();
  parts_.optimizer->set_steps(progress_.step);
  const torch::NoGradGuard no_grad;
  for (const torch::Tensor& tensor : parts_.optimizer->state()) group()->Broadcast(tensor);
  for (torch::Tensor& buffer : parts_.objective->trained().buffers()) {  // fixed routing, for example
    const torch::Tensor copy = buffer.to(torch::kFloat).contiguous();
    group()->Broadcast(copy);
    buffer.copy_(copy);
  }
  return Ok{};
}

Status TrainingRun::Loop() {
  OpenStream();
  while (Fraction() < 1.0 && !stopped_) {
    const double fraction = Fraction();
    Step(MicroBatches(options_, fraction), options_.learning_rate * RateFactor(fraction), kNever);
    progress_.seconds = NowSeconds() - started_;
    if (Due(options_.log_every)) GROVE_RETURN_IF_ERROR(ReportLoss());
    if (RoutingDue(progress_.step)) GROVE_RETURN_IF_ERROR(ReportRouting());
    if (Due(options_.validate_every)) GROVE_RETURN_IF_ERROR(Validate());
    GROVE_RETURN_IF_ERROR(Tick());
    if (Due(options_.checkpoint_every) || stopped_) GROVE_RETURN_IF_ERROR(Checkpoint());
  }
  stream_.reset();
  if (!stopped_ && !Due(options_.checkpoint_every)) return Checkpoint();
  return Ok{};
}

// Whether to stop, and the time that counts: rank 0 decides, so that all ranks take the same steps at the same rate.
Status TrainingRun::Tick() {
  bool stop = context_.stop();
  if (group() == nullptr) {
    stopped_ = stop;
    return Ok{};
  }
  MeetingPoint& meeting = group()->meeting();
  if (stop && !first() && !std::exchange(asked_to_stop_, true)) meeting.AskToStop();
  stop = stop || meeting.StopAsked();
  GROVE_ASSIGN_OR_RETURN(const std::string text,
                         meeting.FromFirst(Json{{"seconds", progress_.seconds}, {"stop", stop}}.dump()));
  const Json decided = Json::parse(text);
  progress_.seconds = decided["seconds"].get<double>();
  stopped_ = decided["stop"].get<bool>();
  return Ok{};
}

double TrainingRun::Step(int64_t micro_batches, double rate, double deadline) {
  // Dropout, region leaks and noisy routers draw the same numbers in a resumed run.
  torch::manual_seed(static_cast<uint64_t>(options_.seed) * 1'000'003 + static_cast<uint64_t>(progress_.step) +
                     static_cast<uint64_t>(parts_.compute.rank) * 0x9E3779B97F4A7C15u);
  // The mean over the batch's words needs their number before the first gradient.
  std::vector<Batch> shares;
  BatchCounts whole;
  for (int64_t i = 0; i < micro_batches; ++i) {
    shares.push_back(stream_->Next());
    whole.sequences += shares.back().whole.sequences;
    whole.words += shares.back().whole.words;
    whole.tokens += shares.back().whole.tokens;
  }
  parts_.routing.BeginStep(RoutingDue(progress_.step + 1));
  // A pass takes as many shares as there are processes: a micro-batch's worth of sequences.
  const size_t together = static_cast<size_t>(parts_.compute.processes);
  size_t done = 0;
  while (done < shares.size() && (done == 0 || NowSeconds() < deadline)) {
    std::vector<Batch> pass;
    for (const size_t begin = done; done < std::min(begin + together, shares.size()); ++done) {
      pass.push_back(shares[done].To(parts_.compute.device));
    }
    if (parts_.sums && parts_.compute.replicas == 1 && done == shares.size()) parts_.sums->Expect();
    AddGradients(Concatenate(pass), whole, done <= together);
  }
  if (parts_.sums) parts_.sums->Finish();
  if (group() != nullptr) {
    parts_.routing.EndStep([this](torch::Tensor& tensor) { group()->Sum(tensor); });
  } else {
    parts_.routing.EndStep();
  }
  progress_.tokens += whole.tokens;
  progress_.sequences += whole.sequences;
  rate_ = rate;
  norm_ = parts_.optimizer->Step(rate, parts_.routing.use());
  parts_.optimizer->ZeroGradients();
  ++progress_.step;
  ++loss_steps_;
  return static_cast<double>(done) / static_cast<double>(shares.size());
}

void TrainingRun::AddGradients(const Batch& batch, const BatchCounts& whole, bool first_pass) {
  const Replicas::Loss loss = parts_.replicas->ForwardBackward(
      batch,
      {.bf16 = parts_.compute.bf16, .words = whole.words, .sequences = whole.sequences, .budget_fraction = Fraction()});
  loss_sum_ += loss.value;
  if (loss.terms.defined()) terms_ = first_pass ? loss.terms : terms_ + loss.terms;
}

Status TrainingRun::ReportLoss() {
  if (group() != nullptr) {
    group()->Sum(loss_sum_);
    if (terms_.defined()) group()->Sum(terms_);
  }
  loss_ = loss_sum_.item<double>() / static_cast<double>(loss_steps_);  // waits for the device
  loss_sum_.zero_();
  loss_steps_ = 0;
  progress_.seconds = NowSeconds() - started_;
  if (!std::isfinite(loss_)) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("the loss is not finite after step {}; lower --learning-rate", progress_.step));
  }
  TrainingReport report = Report();
  report.tokens_per_second =
      static_cast<double>(progress_.tokens - reported_.tokens) / (progress_.seconds - reported_.seconds);
  if (parts_.compute.peak_flops > 0) {
    const double flop_per_token = TrainingFlopPerToken(task_.config, options_.length, options_.mask_share);
    report.utilization = report.tokens_per_second * flop_per_token / parts_.compute.peak_flops;
  }
  report.seconds_left = std::max(0.0, progress_.seconds * (1.0 - report.fraction) / report.fraction);
  reported_ = progress_;
  Json terms = Json::object();
  const std::vector<std::string> names = parts_.objective->term_names();
  for (size_t i = 0; i < names.size(); ++i) terms[names[i]] = terms_[static_cast<int64_t>(i)].item<double>();
  return record_.Step(report, rate_, norm_.item<double>(), terms);
}

Status TrainingRun::ReportRouting() {
  return first() ? record_.Routing(progress_, RoutingLine(parts_.routing.Report())) : Ok{};
}

Status TrainingRun::Validate() {
  if (validated_step_ == progress_.step) return Ok{};
  validation_loss_ = ValidationLoss();
  validated_step_ = progress_.step;
  // Its time is not training speed: the next report counts from here.
  const double seconds = NowSeconds() - started_;
  reported_.seconds += seconds - progress_.seconds;
  progress_.seconds = seconds;
  return record_.Validation(Report());
}

// The validation batches shared out among the processes, and within each among its threads.
double TrainingRun::ValidationLoss() {
  if (group() == nullptr) return parts_.replicas->Evaluate(validation_, parts_.compute.bf16).item<double>();
  std::vector<Batch> own;
  int64_t own_words = 0, words = 0;
  for (size_t i = 0; i < validation_.size(); ++i) {
    words += validation_[i].labels.numel();
    if (i % static_cast<size_t>(group()->size()) != static_cast<size_t>(group()->rank())) continue;
    own_words += validation_[i].labels.numel();
    own.push_back(validation_[i]);
  }
  torch::Tensor sum = torch::zeros({}, loss_sum_.options());
  if (own_words > 0) sum = parts_.replicas->Evaluate(own, parts_.compute.bf16) * static_cast<double>(own_words);
  group()->Sum(sum);
  return sum.item<double>() / static_cast<double>(words);
}

Status TrainingRun::Checkpoint() {
  torch::Tensor loss_sum = loss_sum_;
  if (group() != nullptr) {
    loss_sum = loss_sum_.clone();
    group()->Sum(loss_sum);
  }
  if (!first()) return Ok{};
  GROVE_ASSIGN_OR_RETURN(const int64_t log_bytes, record_.Sync());
  return SaveCheckpoint(CheckpointFolder(), parts_.objective->trained(), *parts_.optimizer,
                        {progress_, log_bytes, loss_sum.item<double>(), loss_steps_, OptionsJson(task_.options).dump()},
                        options_.keep_checkpoints);
}

Result<PretrainSummary> TrainingRun::Finish() {
  GROVE_RETURN_IF_ERROR(Validate());
  Json card = record_.Card(Report(), parts_.compute, parts_.data, parts_.objective->model());
  if (first()) {
    if (task_.judge) card.update(task_.judge(*parts_.objective, validation_));
    GROVE_RETURN_IF_ERROR(record_.End(Report()));
    GROVE_RETURN_IF_ERROR(WriteModel(card.dump(1) + "\n"));
  }
  return PretrainSummary{
      .finished = true, .progress = progress_, .validation_loss = validation_loss_, .card = card.dump()};
}

Status TrainingRun::WriteModel(const std::string& card) {
  GROVE_ASSIGN_OR_RETURN(const std::string tokenizer, ReadTextFile(parts_.data.tokenizer_path()));
  GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/tokenizer.json", tokenizer));
  GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/training.json", card));
  const nn::SaveModelOptions save{.bf16 = options_.save_dtype == "bf16", .include_decoder = options_.save_decoder};
  return nn::SaveModel(parts_.objective->model(), task_.config, options_.output, save);
}

Result<PretrainSummary> TrainingRun::TryOut() {
  OpenStream();
  ReadValidationBatches();
  const int64_t full = options_.batch / options_.MicroBatch();
  const double rate = options_.learning_rate * RateFactor(1.0 / 3);
  // The first pass pays for memory and for the choice of kernels; the rate 0 changes nothing but the moments.
  Step(1, 0, kNever);
  norm_.item<double>();
  StepTiming timing;
  const int64_t tokens = progress_.tokens, sequences = progress_.sequences;
  double begin = NowSeconds();
  timing.share = Step(full, rate, group() == nullptr ? begin + kTryOutSeconds : kNever);
  norm_.item<double>();  // waits for the device
  timing.seconds = NowSeconds() - begin;
  timing.tokens = progress_.tokens - tokens;
  timing.sequences = progress_.sequences - sequences;
  stream_.reset();
  begin = NowSeconds();
  const std::vector<Batch> one(validation_.begin(), validation_.begin() + 1);
  const double loss = parts_.replicas->Evaluate(one, parts_.compute.bf16).item<double>();
  timing.validation_seconds =
      (NowSeconds() - begin) * static_cast<double>(validation_.size()) / static_cast<double>(parts_.compute.processes);
  PretrainSummary summary{.finished = false, .progress = progress_, .validation_loss = loss};
  summary.dry_run = PredictRun(options_, task_.config, timing, parts_.compute, *parts_.objective);
  return summary;
}

}  // namespace grove::train
