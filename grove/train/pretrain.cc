// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/pretrain.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "grove/base/clock.h"
#include "grove/io/files.h"
#include "grove/nn/parameters.h"
#include "grove/train/adamw.h"
#include "grove/train/checkpoint.h"
#include "grove/train/initial_model.h"
#include "grove/train/initialization.h"
#include "grove/train/replicas.h"
#include "grove/train/routing_monitor.h"
#include "grove/train/run_log.h"
#include "grove/train/train_loop.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kBatchesAhead = 8;

// The parts of a run, built once; Run does the work with them.
struct Parts {
  Compute compute;
  TrainingData data;
  std::shared_ptr<Objective> objective;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<Replicas> replicas;
  RoutingMonitor routing;
  RunLog log;
};

class Run {
 public:
  Run(const PretrainOptions& options, const PretrainContext& context, const TrainingTask& task, Parts parts)
      : options_(options), context_(context), task_(task), parts_(std::move(parts)) {}

  Result<PretrainSummary> Execute() {
    GROVE_RETURN_IF_ERROR(Begin());
    started_ = NowSeconds() - progress_.seconds;
    reported_ = progress_;
    for (const Batch& batch : parts_.data.ValidationBatches(options_.validation_sequences)) {
      validation_.push_back(batch.To(parts_.compute.device));
    }
    GROVE_RETURN_IF_ERROR(Loop());
    if (stopped_) return PretrainSummary{false, progress_, validation_loss_, ""};
    return Finish();
  }

 private:
  Status Begin();
  Status Loop();
  void Step();
  Status ReportLoss();
  Status ReportRouting();
  Status Validate();
  Status Checkpoint();
  Result<PretrainSummary> Finish();
  Json Card() const;

  std::string CheckpointFolder() const { return options_.output + "/checkpoints"; }
  bool Due(int64_t every) const { return every > 0 && progress_.step % every == 0; }
  bool RoutingDue(int64_t step) const {
    const int64_t every = options_.log_every * options_.routing_every;
    return every > 0 && step % every == 0 && !parts_.routing.empty();
  }
  void Notice(const std::string& sentence) const {
    if (context_.observer != nullptr) context_.observer->Notice(sentence);
  }

  const PretrainOptions& options_;
  const PretrainContext& context_;
  const TrainingTask& task_;
  Parts parts_;
  Progress progress_, reported_;  // now, and at the last report
  double started_ = 0;            // on the clock, as if the run had never been interrupted
  bool stopped_ = false;
  std::unique_ptr<BatchStream> stream_;
  std::vector<Batch> validation_;
  torch::Tensor terms_;            // of the latest step; undefined if the objective has none
  torch::Tensor loss_sum_, norm_;  // on the device: reading them waits for it
  int64_t loss_steps_ = 0;         // summed in loss_sum_ since the last report
  double loss_ = 0;
  double rate_ = 0;  // of the latest step
  std::optional<double> validation_loss_;
  int64_t validated_step_ = -1;
};

Status Run::Begin() {
  int64_t log_bytes = 0;
  loss_sum_ = torch::zeros({}, parts_.compute.device);
  if (context_.resume) {
    std::vector<std::string> warnings;
    GROVE_ASSIGN_OR_RETURN(const auto state, LoadNewestCheckpoint(CheckpointFolder(), parts_.objective->trained(),
                                                                  *parts_.optimizer, &warnings));
    for (const std::string& warning : warnings) Notice(warning + "; using the one before it");
    if (state) {
      GROVE_RETURN_IF_ERROR(CheckSameRun(task_.options, Json::parse(state->options)));
      progress_ = state->progress;
      log_bytes = state->log_bytes;
      loss_sum_.fill_(state->loss_sum);
      loss_steps_ = state->loss_steps;
      Notice(fmt::format("resuming at step {}", progress_.step));
    } else {
      Notice("no checkpoint to resume from; starting at step 0");
    }
  }
  GROVE_RETURN_IF_ERROR(parts_.log.CutTo(log_bytes));
  if (progress_.step > 0) return Ok{};
  if (task_.initialize) GROVE_RETURN_IF_ERROR(task_.initialize(parts_.objective->model()));
  return parts_.log.Write({{"event", "start"},
                           {"time", UnixSeconds()},
                           {"options", OptionsJson(task_.options)},
                           {"device", parts_.compute.name},
                           {"feed_forward", DescribeFeedForward(task_.config)},
                           {"parameters", nn::CountParameters(parts_.objective->model())},
                           {"data", parts_.data.card()}});
}

Status Run::Loop() {
  const auto make = [this](int64_t number) { return parts_.data.TrainBatch(number); };
  stream_ = std::make_unique<BatchStream>(make, progress_.sequences / options_.MicroBatch(), kBatchesAhead);
  while (BudgetFraction(options_, progress_) < 1.0 && !stopped_) {
    Step();
    progress_.seconds = NowSeconds() - started_;
    if (Due(options_.log_every)) GROVE_RETURN_IF_ERROR(ReportLoss());
    if (RoutingDue(progress_.step)) GROVE_RETURN_IF_ERROR(ReportRouting());
    if (Due(options_.validate_every)) GROVE_RETURN_IF_ERROR(Validate());
    stopped_ = context_.stop();
    if (Due(options_.checkpoint_every) || stopped_) GROVE_RETURN_IF_ERROR(Checkpoint());
  }
  stream_.reset();
  if (!stopped_ && !Due(options_.checkpoint_every)) return Checkpoint();
  return Ok{};
}

void Run::Step() {
  const double fraction = BudgetFraction(options_, progress_);
  const int64_t micro_batches = MicroBatches(options_, fraction);
  // Dropout, region leaks and noisy routers draw the same numbers in a resumed run.
  torch::manual_seed(static_cast<uint64_t>(options_.seed) * 1'000'003 + static_cast<uint64_t>(progress_.step));
  const Replicas::Options replica_options{
      .bf16 = parts_.compute.bf16, .loss_scale = 1.0 / static_cast<double>(micro_batches), .budget_fraction = fraction};
  parts_.routing.BeginStep(RoutingDue(progress_.step + 1));
  for (int64_t i = 0; i < micro_batches; ++i) {
    const Batch batch = stream_->Next().To(parts_.compute.device);
    const Replicas::Loss loss = parts_.replicas->ForwardBackward(batch, replica_options);
    loss_sum_ += loss.value * replica_options.loss_scale;
    if (loss.terms.defined()) {
      terms_ = (i == 0 ? torch::zeros_like(loss.terms) : terms_) + loss.terms * replica_options.loss_scale;
    }
    progress_.tokens += batch.tokens;
    progress_.sequences += batch.ids.size(0);
  }
  parts_.routing.EndStep();
  rate_ = options_.learning_rate * RateFactor(fraction);
  norm_ = parts_.optimizer->Step(rate_, parts_.routing.use());
  parts_.optimizer->ZeroGradients();
  ++progress_.step;
  ++loss_steps_;
}

Status Run::ReportLoss() {
  loss_ = loss_sum_.item<double>() / static_cast<double>(loss_steps_);  // waits for the device
  loss_sum_.zero_();
  loss_steps_ = 0;
  progress_.seconds = NowSeconds() - started_;
  if (!std::isfinite(loss_)) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("the loss is not finite after step {}; lower --learning-rate", progress_.step));
  }
  const double fraction = BudgetFraction(options_, progress_);
  TrainingReport report{progress_, fraction, loss_, validation_loss_, 0, 0};
  report.tokens_per_second =
      static_cast<double>(progress_.tokens - reported_.tokens) / (progress_.seconds - reported_.seconds);
  report.seconds_left = std::max(0.0, progress_.seconds * (1.0 - fraction) / fraction);
  reported_ = progress_;
  if (context_.observer != nullptr) context_.observer->Report(report);
  Json line{{"event", "step"},
            {"step", progress_.step},
            {"loss", loss_},
            {"rate", rate_},
            {"gradient_norm", norm_.item<double>()},
            {"tokens", progress_.tokens},
            {"seconds", progress_.seconds},
            {"tokens_per_second", report.tokens_per_second}};
  const std::vector<std::string> names = parts_.objective->term_names();
  for (size_t i = 0; i < names.size(); ++i) line[names[i]] = terms_[static_cast<int64_t>(i)].item<double>();
  return parts_.log.Write(line);
}

Status Run::ReportRouting() {
  Json line{
      {"event", "routing"}, {"step", progress_.step}, {"tokens", progress_.tokens}, {"seconds", progress_.seconds}};
  line.update(RoutingLine(parts_.routing.Report()));
  return parts_.log.Write(line);
}

Status Run::Validate() {
  if (validated_step_ == progress_.step) return Ok{};
  validation_loss_ = parts_.replicas->Evaluate(validation_, parts_.compute.bf16).item<double>();
  validated_step_ = progress_.step;
  // Its time is not training speed: the next report counts from here.
  const double seconds = NowSeconds() - started_;
  reported_.seconds += seconds - progress_.seconds;
  progress_.seconds = seconds;
  if (context_.observer != nullptr) {
    const double fraction = BudgetFraction(options_, progress_);
    context_.observer->Report({progress_, fraction, loss_, validation_loss_, 0, 0});
  }
  return parts_.log.Write({{"event", "validation"},
                           {"step", progress_.step},
                           {"loss", *validation_loss_},
                           {"tokens", progress_.tokens},
                           {"seconds", progress_.seconds}});
}

Status Run::Checkpoint() {
  GROVE_ASSIGN_OR_RETURN(const int64_t log_bytes, parts_.log.Sync());
  return SaveCheckpoint(
      CheckpointFolder(), parts_.objective->trained(), *parts_.optimizer,
      {progress_, log_bytes, loss_sum_.item<double>(), loss_steps_, OptionsJson(task_.options).dump()},
      options_.keep_checkpoints);
}

// The card of the model: what it was made of and how well it does.
Json Run::Card() const {
  Json card{{"data", parts_.data.card()},
            {"feed_forward", DescribeFeedForward(task_.config)},
            {"parameters", nn::CountParameters(parts_.objective->model())},
            {"validation_loss", validation_loss_.value_or(0)},
            {"steps", progress_.step},
            {"tokens", progress_.tokens},
            {"seconds", progress_.seconds},
            {"device", parts_.compute.name},
            {"options", OptionsJson(task_.options)}};
  if (loss_ > 0) card["loss"] = loss_;  // not known to a run that was resumed after its last step
  return card;
}

Result<PretrainSummary> Run::Finish() {
  GROVE_RETURN_IF_ERROR(Validate());
  Json card = Card();
  if (task_.judge) card.update(task_.judge(*parts_.objective, validation_));
  GROVE_RETURN_IF_ERROR(parts_.log.Write({{"event", "end"},
                                          {"step", progress_.step},
                                          {"validation_loss", *validation_loss_},
                                          {"tokens", progress_.tokens},
                                          {"seconds", progress_.seconds}}));
  GROVE_ASSIGN_OR_RETURN(const std::string tokenizer, ReadTextFile(parts_.data.tokenizer_path()));
  GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/tokenizer.json", tokenizer));
  GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/training.json", card.dump(1) + "\n"));
  const nn::SaveModelOptions save{.bf16 = options_.save_dtype == "bf16", .include_decoder = options_.save_decoder};
  GROVE_RETURN_IF_ERROR(nn::SaveModel(parts_.objective->model(), task_.config, options_.output, save));
  return PretrainSummary{true, progress_, validation_loss_, card.dump()};
}

// Makes the output folder ready: empty, or holding the run that is to be resumed.
Status PrepareFolder(const PretrainOptions& options, const PretrainContext& context) {
  const std::string& folder = options.output;
  const std::string checkpoints = folder + "/checkpoints";
  std::error_code error;
  const auto size = fs::file_size(folder + "/log.jsonl", error);
  const bool used = (!error && size > 0) || fs::exists(folder + "/config.json", error);
  if (used && !context.resume && !context.overwrite) {
    return Error(ErrorCode::kInvalidArgument,
                 folder + " holds a run already; pass --resume to go on or --overwrite to start again");
  }
  if (context.overwrite && !context.resume) {
    for (const char* name : {"config.json", "model.safetensors", "training.json"})
      fs::remove(folder + "/" + name, error);
    GROVE_RETURN_IF_ERROR(RemoveFolder(checkpoints));
    GROVE_RETURN_IF_ERROR(RemoveFolder(folder + "/tensorboard"));
  }
  fs::create_directories(checkpoints, error);
  if (error) return Error(ErrorCode::kIo, "cannot create " + checkpoints + ": " + error.message());
  return Ok{};
}

Result<Parts> MakeParts(const PretrainOptions& options, const TrainingTask& task, Compute compute, TrainingData data,
                        RunLog log) {
  torch::manual_seed(static_cast<uint64_t>(options.seed));
  const auto objective = task.make();
  GROVE_RETURN_IF_ERROR(Initialize(objective->model(), options.init));
  objective->trained().to(compute.device);
  const UnitOptions units{.rate_power = options.unit_rate_power, .lazy = options.lazy_units};
  auto optimizer = std::make_unique<AdamW>(
      objective->trained(),
      AdamWOptions{options.beta1, options.beta2, options.epsilon, options.weight_decay, options.clip, units});
  auto replicas = std::make_unique<Replicas>(objective, *optimizer, compute.replicas, task.make);
  RoutingMonitor routing(replicas->FeedForwards(), {.few_tokens = options.few_tokens, .every_step = units.any()});
  return Parts{std::move(compute),  std::move(data),    objective,     std::move(optimizer),
               std::move(replicas), std::move(routing), std::move(log)};
}

Result<PretrainSummary> PretrainChecked(const PretrainOptions& options, const PretrainContext& context) {
  GROVE_RETURN_IF_ERROR(CheckOptions(options));
  GROVE_ASSIGN_OR_RETURN(Compute compute, ComputeOf(options, context));
  GROVE_ASSIGN_OR_RETURN(TrainingData data, DataOf(options, compute));
  GROVE_ASSIGN_OR_RETURN(const ModelConfig config,
                         InitialModelConfig(options, {data.vocabulary(), data.pad_id(), data.tokenizer_path()}));
  const nn::ModuleOptions module_options = ModuleOptionsOf(options);
  PretrainOptions copy = options;
  const TrainingTask task{
      .config = config,
      .make = [&] { return std::make_shared<MaskedLmObjective>(nn::MakeTextModel(config, module_options)); },
      .initialize = [&](nn::TextModel& model) { return LoadInitialWeights(options, model); },
      .options = RecordedOptions(copy)};
  return Train(options, context, std::move(compute), std::move(data), task);
}

}  // namespace

Result<Compute> ComputeOf(const PretrainOptions& recipe, const PretrainContext& context) {
  return ChooseCompute(recipe.device, context.threads, recipe.bf16);
}

Result<TrainingData> DataOf(const PretrainOptions& recipe, const Compute& compute) {
  return TrainingData::Open(recipe.data, {.length = recipe.length,
                                          .mask_share = recipe.mask_share,
                                          .seed = recipe.seed,
                                          .sequences = recipe.MicroBatch(),
                                          .pinned = compute.device.is_cuda()});
}

Result<PretrainSummary> Train(const PretrainOptions& recipe, const PretrainContext& context, Compute compute,
                              TrainingData data, const TrainingTask& task) {
  GROVE_RETURN_IF_ERROR(PrepareFolder(recipe, context));
  const std::string tensorboard = recipe.tensorboard ? recipe.output + "/tensorboard" : "";
  GROVE_ASSIGN_OR_RETURN(RunLog log, RunLog::Open(recipe.output + "/log.jsonl", tensorboard));
  GROVE_ASSIGN_OR_RETURN(Parts parts, MakeParts(recipe, task, std::move(compute), std::move(data), std::move(log)));
  Run run(recipe, context, task, std::move(parts));
  return run.Execute();
}

Result<PretrainSummary> WithoutExceptions(const std::function<Result<PretrainSummary>()>& run) {
  try {
    return run();
  } catch (const c10::Error& error) {  // out of GPU memory, no such device: LibTorch throws
    const std::string text = error.what_without_backtrace();
    return Error(ErrorCode::kUnsupported, "LibTorch: " + text.substr(0, text.find('\n')));
  }
}

Result<PretrainSummary> Pretrain(const PretrainOptions& options, const PretrainContext& context) {
  return WithoutExceptions([&] { return PretrainChecked(options, context); });
}

}  // namespace grove::train
