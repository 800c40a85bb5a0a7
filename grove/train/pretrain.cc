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
#include "grove/nn/heads.h"
#include "grove/nn/parameters.h"
#include "grove/train/adamw.h"
#include "grove/train/checkpoint.h"
#include "grove/train/compute.h"
#include "grove/train/replicas.h"
#include "grove/train/run_log.h"
#include "grove/train/training_data.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kBatchesAhead = 8;

// The parts of a run, built once; Run does the work with them.
struct Parts {
  Compute compute;
  TrainingData data;
  ModelConfig config;
  std::shared_ptr<nn::MaskedLm> model;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<Replicas> replicas;
  RunLog log;
};

class Run {
 public:
  Run(const PretrainOptions& options, const PretrainContext& context, Parts parts)
      : options_(options), context_(context), parts_(std::move(parts)) {}

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
  Status Validate();
  Status Checkpoint();
  Result<PretrainSummary> Finish();
  Json Card() const;

  std::string CheckpointFolder() const { return options_.output + "/checkpoints"; }
  bool Due(int64_t every) const { return every > 0 && progress_.step % every == 0; }
  void Notice(const std::string& sentence) const {
    if (context_.observer != nullptr) context_.observer->Notice(sentence);
  }

  const PretrainOptions& options_;
  const PretrainContext& context_;
  Parts parts_;
  Progress progress_, reported_;  // now, and at the last report
  double started_ = 0;            // on the clock, as if the run had never been interrupted
  bool stopped_ = false;
  std::unique_ptr<BatchStream> stream_;
  std::vector<Batch> validation_;
  torch::Tensor loss_sum_, norm_;  // on the device: reading them waits for it
  int64_t loss_steps_ = 0;         // summed in loss_sum_ since the last report
  double loss_ = 0;
  std::optional<double> validation_loss_;
  int64_t validated_step_ = -1;
};

Status Run::Begin() {
  int64_t log_bytes = 0;
  loss_sum_ = torch::zeros({}, parts_.compute.device);
  if (context_.resume) {
    std::vector<std::string> warnings;
    GROVE_ASSIGN_OR_RETURN(const auto state,
                           LoadNewestCheckpoint(CheckpointFolder(), *parts_.model, *parts_.optimizer, &warnings));
    for (const std::string& warning : warnings) Notice(warning + "; using the one before it");
    if (state) {
      PretrainOptions copy = options_;
      GROVE_RETURN_IF_ERROR(CheckSameRun(PretrainOptionList(copy), Json::parse(state->options)));
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
  return parts_.log.Write({{"event", "start"},
                           {"options", OptionsJson(options_)},
                           {"device", parts_.compute.name},
                           {"feed_forward", DescribeFeedForward(parts_.config.feed_forward)},
                           {"parameters", nn::CountParameters(*parts_.model)},
                           {"data", parts_.data.card()}});
}

Status Run::Loop() {
  const auto make = [this](int64_t number) { return parts_.data.TrainBatch(number); };
  stream_ = std::make_unique<BatchStream>(make, progress_.sequences / options_.MicroBatch(), kBatchesAhead);
  while (BudgetFraction(options_, progress_) < 1.0 && !stopped_) {
    Step();
    progress_.seconds = NowSeconds() - started_;
    if (Due(options_.log_every)) GROVE_RETURN_IF_ERROR(ReportLoss());
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
  if (options_.dropout > 0)
    torch::manual_seed(static_cast<uint64_t>(options_.seed) * 1'000'003 + static_cast<uint64_t>(progress_.step));
  const Replicas::Options replica_options{.bf16 = parts_.compute.bf16,
                                          .loss_scale = 1.0 / static_cast<double>(micro_batches)};
  for (int64_t i = 0; i < micro_batches; ++i) {
    const Batch batch = stream_->Next().To(parts_.compute.device);
    loss_sum_ += parts_.replicas->ForwardBackward(batch, replica_options) * replica_options.loss_scale;
    progress_.tokens += batch.tokens;
    progress_.sequences += batch.ids.size(0);
  }
  norm_ = parts_.optimizer->Step(options_.learning_rate * RateFactor(fraction));
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
  return parts_.log.Write({{"event", "step"},
                           {"step", progress_.step},
                           {"loss", loss_},
                           {"rate", options_.learning_rate * RateFactor(fraction)},
                           {"gradient_norm", norm_.item<double>()},
                           {"tokens", progress_.tokens},
                           {"seconds", progress_.seconds},
                           {"tokens_per_second", report.tokens_per_second}});
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
  return SaveCheckpoint(CheckpointFolder(), *parts_.model, *parts_.optimizer,
                        {progress_, log_bytes, loss_sum_.item<double>(), loss_steps_, OptionsJson(options_).dump()},
                        options_.keep_checkpoints);
}

// The card of the model: what it was made of and how well it does.
Json Run::Card() const {
  Json card{{"data", parts_.data.card()},
            {"feed_forward", DescribeFeedForward(parts_.config.feed_forward)},
            {"parameters", nn::CountParameters(*parts_.model)},
            {"validation_loss", validation_loss_.value_or(0)},
            {"steps", progress_.step},
            {"tokens", progress_.tokens},
            {"seconds", progress_.seconds},
            {"device", parts_.compute.name},
            {"options", OptionsJson(options_)}};
  if (loss_ > 0) card["loss"] = loss_;  // not known to a run that was resumed after its last step
  return card;
}

Result<PretrainSummary> Run::Finish() {
  GROVE_RETURN_IF_ERROR(Validate());
  const Json card = Card();
  GROVE_RETURN_IF_ERROR(parts_.log.Write({{"event", "end"},
                                          {"step", progress_.step},
                                          {"validation_loss", *validation_loss_},
                                          {"tokens", progress_.tokens},
                                          {"seconds", progress_.seconds}}));
  GROVE_ASSIGN_OR_RETURN(const std::string tokenizer, ReadTextFile(parts_.data.tokenizer_path()));
  GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/tokenizer.json", tokenizer));
  GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/training.json", card.dump(1) + "\n"));
  const nn::SaveModelOptions save{.bf16 = options_.save_dtype == "bf16", .include_decoder = options_.save_decoder};
  GROVE_RETURN_IF_ERROR(nn::SaveModel(*parts_.model, parts_.config, options_.output, save));
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
    fs::remove_all(checkpoints, error);
  }
  fs::create_directories(checkpoints, error);
  if (error) return Error(ErrorCode::kIo, "cannot create " + checkpoints + ": " + error.message());
  return Ok{};
}

Parts MakeParts(const PretrainOptions& options, Compute compute, TrainingData data, const ModelConfig& config,
                RunLog log) {
  const nn::ModuleOptions module_options{.balance = options.balance, .hardening = options.hardening};
  const auto make = [&] { return std::make_shared<nn::MaskedLm>(config, module_options); };
  torch::manual_seed(static_cast<uint64_t>(options.seed));
  const auto model = make();
  model->to(compute.device);
  auto optimizer = std::make_unique<AdamW>(
      *model, AdamWOptions{options.beta1, options.beta2, options.epsilon, options.weight_decay, options.clip});
  auto replicas = std::make_unique<Replicas>(model, *optimizer, compute.replicas, make);
  return {std::move(compute),   std::move(data),     config,        model,
          std::move(optimizer), std::move(replicas), std::move(log)};
}

Result<PretrainSummary> PretrainChecked(const PretrainOptions& options, const PretrainContext& context) {
  GROVE_RETURN_IF_ERROR(CheckOptions(options));
  GROVE_ASSIGN_OR_RETURN(Compute compute, ChooseCompute(options.device, context.threads, options.bf16));
  GROVE_ASSIGN_OR_RETURN(TrainingData data, TrainingData::Open(options.data, {.length = options.length,
                                                                              .mask_share = options.mask_share,
                                                                              .seed = options.seed,
                                                                              .sequences = options.MicroBatch(),
                                                                              .pinned = compute.device.is_cuda()}));
  GROVE_ASSIGN_OR_RETURN(const ModelConfig config,
                         ModelConfigOf(options, options.dropout, data.vocabulary(), data.pad_id()));
  GROVE_RETURN_IF_ERROR(PrepareFolder(options, context));
  GROVE_ASSIGN_OR_RETURN(RunLog log, RunLog::Open(options.output + "/log.jsonl"));
  Parts parts = MakeParts(options, std::move(compute), std::move(data), config, std::move(log));
  Run run(options, context, std::move(parts));
  return run.Execute();
}

}  // namespace

Result<PretrainSummary> Pretrain(const PretrainOptions& options, const PretrainContext& context) {
  try {
    return PretrainChecked(options, context);
  } catch (const c10::Error& error) {  // out of GPU memory, no such device: LibTorch throws
    const std::string text = error.what_without_backtrace();
    return Error(ErrorCode::kUnsupported, "LibTorch: " + text.substr(0, text.find('\n')));
  }
}

}  // namespace grove::train
