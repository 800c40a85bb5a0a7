// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/run_record.h"

#include "grove/base/clock.h"
#include "grove/nn/parameters.h"

namespace grove::train {

using Json = nlohmann::ordered_json;

void RunRecord::Notice(const std::string& sentence) const {
  if (observer_ != nullptr) observer_->Notice(sentence);
}

Status RunRecord::CutTo(int64_t bytes) { return log_ ? log_->CutTo(bytes) : Ok{}; }

Status RunRecord::Start(const Compute& compute, const TrainingData& data, const nn::TextModel& model) {
  if (!log_) return Ok{};
  return log_->Write({{"event", "start"},
                      {"time", UnixSeconds()},
                      {"options", OptionsJson(task_.options)},
                      {"device", compute.name},
                      {"feed_forward", DescribeFeedForward(task_.config)},
                      {"parameters", nn::CountParameters(model)},
                      {"data", data.card()}});
}

Status RunRecord::Step(const TrainingReport& report, double rate, double gradient_norm, const Json& extra) {
  if (observer_ != nullptr) observer_->Report(report);
  if (!log_) return Ok{};
  Json line{{"event", "step"},
            {"step", report.progress.step},
            {"loss", report.loss},
            {"rate", rate},
            {"gradient_norm", gradient_norm},
            {"tokens", report.progress.tokens},
            {"seconds", report.progress.seconds},
            {"tokens_per_second", report.tokens_per_second}};
  if (report.utilization) line["flop_utilization"] = *report.utilization;
  line.update(extra);
  return log_->Write(line);
}

Status RunRecord::Routing(const Progress& progress, const Json& layers) {
  if (!log_) return Ok{};
  Json line{{"event", "routing"}, {"step", progress.step}, {"tokens", progress.tokens}, {"seconds", progress.seconds}};
  line.update(layers);
  return log_->Write(line);
}

Status RunRecord::Validation(const TrainingReport& report) {
  if (observer_ != nullptr) observer_->Report(report);
  if (!log_) return Ok{};
  return log_->Write({{"event", "validation"},
                      {"step", report.progress.step},
                      {"loss", report.validation_loss.value_or(0)},
                      {"tokens", report.progress.tokens},
                      {"seconds", report.progress.seconds}});
}

Status RunRecord::End(const TrainingReport& report) {
  if (!log_) return Ok{};
  return log_->Write({{"event", "end"},
                      {"step", report.progress.step},
                      {"validation_loss", report.validation_loss.value_or(0)},
                      {"tokens", report.progress.tokens},
                      {"seconds", report.progress.seconds}});
}

Result<int64_t> RunRecord::Sync() { return log_ ? log_->Sync() : Result<int64_t>(int64_t{0}); }

Json RunRecord::Card(const TrainingReport& report, const Compute& compute, const TrainingData& data,
                     const nn::TextModel& model) const {
  Json card{{"data", data.card()},
            {"feed_forward", DescribeFeedForward(task_.config)},
            {"parameters", nn::CountParameters(model)},
            {"validation_loss", report.validation_loss.value_or(0)},
            {"steps", report.progress.step},
            {"tokens", report.progress.tokens},
            {"seconds", report.progress.seconds},
            {"device", compute.name},
            {"options", OptionsJson(task_.options)}};
  if (report.loss > 0) card["loss"] = report.loss;  // not known to a run that was resumed after its last step
  return card;
}

}  // namespace grove::train
