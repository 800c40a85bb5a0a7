// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/task_model.h"

#include <algorithm>
#include <exception>

#include "grove/base/check.h"
#include "grove/nn/bert.h"
#include "grove/nn/parameters.h"

namespace grove::train {
namespace {

constexpr int64_t kScoringBatch = 64;

std::vector<int64_t> ClassesOf(const TaskData& data) {
  std::vector<int64_t> classes;
  for (const TaskExample& example : data.examples) {
    classes.insert(classes.end(), example.classes.begin(), example.classes.end());
  }
  return classes;
}

// Labels by name, a vector a sentence.
std::vector<WordLabels> ByName(const TaskData& data, std::span<const int64_t> classes) {
  std::vector<WordLabels> sentences;
  size_t at = 0;
  for (const TaskExample& example : data.examples) {
    WordLabels& sentence = sentences.emplace_back();
    for (size_t i = 0; i < example.positions.size(); ++i) {
      sentence.push_back(data.labels.names[static_cast<size_t>(classes[at++])]);
    }
  }
  return sentences;
}

double ScoreOne(Metric metric, const TaskData& data, const torch::Tensor& logits) {
  if (metric == Metric::kPearson || metric == Metric::kSpearman) {
    std::vector<double> values;
    for (const TaskExample& example : data.examples) values.push_back(example.value);
    const std::vector<double> answers = AnsweredValues(logits);
    return metric == Metric::kPearson ? PearsonCorrelation(answers, values) : SpearmanCorrelation(answers, values);
  }
  const std::vector<int64_t> classes = ClassesOf(data), answers = AnsweredClasses(logits);
  switch (metric) {
    case Metric::kAccuracy:
      return Accuracy(answers, classes);
    case Metric::kF1:
      return F1(answers, classes);
    case Metric::kMatthews:
      return MatthewsCorrelation(answers, classes);
    default:
      return ScoreEntities(ByName(data, answers), ByName(data, classes)).f1;
  }
}

}  // namespace

ModelConfig TaskConfig(const ModelConfig& pretrained, const LabelSet& labels, const TaskHead& head) {
  ModelConfig config = pretrained;
  config.hidden_dropout = config.attention_dropout = head.dropout;
  const bool tokens = labels.kind == TaskKind::kTokens;
  config.head = {.kind = tokens ? HeadKind::kTokenClassification : HeadKind::kSequenceClassification,
                 .labels = std::max<int64_t>(static_cast<int64_t>(labels.names.size()), 1),
                 .pooler = tokens ? PoolerKind::kFirstToken : head.pooler,
                 .pooler_dense = !tokens,
                 .pooler_width = tokens || !config.crammed() ? config.width : head.pooler_width,
                 .dropout = head.dropout,
                 .regression = labels.kind == TaskKind::kRegression,
                 .label_names = labels.names};
  return config;
}

LabelSet LabelsOfModel(const ModelConfig& config) {
  const HeadConfig& head = config.head;
  if (head.regression) return {TaskKind::kRegression, {}, false};
  LabelSet labels{head.kind == HeadKind::kTokenClassification ? TaskKind::kTokens : TaskKind::kClassification,
                  head.label_names, false};
  for (int64_t i = 0; labels.names.empty() && i < head.labels; ++i) labels.names.push_back(std::to_string(i));
  return labels;
}

Result<std::shared_ptr<nn::TextModel>> MakeTaskModel(const ModelConfig& config, const ModelDirectory& pretrained,
                                                     const nn::ModuleOptions& options) {
  std::shared_ptr<nn::TextModel> model = nn::MakeTextModel(config, options);
  const auto stored = [&](const SafetensorsFile& file, const std::string& name) -> std::string {
    if (config.crammed()) return name.starts_with("encoder.") ? name : "";
    if (name.starts_with("classifier.")) return "";
    const std::string found = nn::StoredBertName(file, name);
    const bool pooler = name.find("pooler.") != std::string::npos || name.starts_with("pre_classifier.");
    return pooler && !file.Has(found) ? "" : found;
  };
  GROVE_RETURN_IF_ERROR(nn::LoadParameters(*model, pretrained.weights, stored));
  return model;
}

torch::Tensor TaskLossSum(const torch::Tensor& logits, const TaskBatch& batch) {
  const torch::Tensor scores = logits.to(torch::kFloat);
  if (batch.values.defined()) return torch::mse_loss(scores.squeeze(1), batch.values, at::Reduction::Sum);
  return torch::cross_entropy_loss(scores, batch.classes, /*weight=*/{}, at::Reduction::Sum);
}

torch::Tensor Answer(nn::TextModel& model, const TaskData& data, int64_t pad_id, const Compute& compute,
                     ThreadPool& pool) {
  model.eval();
  const auto batches = ScoringBatches(data, kScoringBatch);
  std::vector<torch::Tensor> answers(batches.size());
  std::vector<std::exception_ptr> errors(batches.size());
  const auto run = [&](size_t i) {
    const torch::NoGradGuard no_grad;
    const nn::AutocastScope autocast(compute.bf16);
    const TaskBatch batch = MakeTaskBatch(data, batches[i], pad_id).To(compute.device);
    const nn::EncoderOutput encoded = model.Encode(batch.input, nullptr);
    answers[i] = model.Logits(encoded.hidden, batch.input.attention_mask, batch.positions).to(torch::kFloat);
  };
  const auto run_all = [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      try {
        run(i);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  };
  compute.device.is_cpu() ? pool.ParallelFor(batches.size(), 1, run_all) : run_all(0, batches.size());
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  // Back to the order of the examples.
  std::vector<torch::Tensor> rows(data.examples.size());
  for (size_t i = 0; i < batches.size(); ++i) {
    const torch::Tensor all = answers[i].to(torch::kCPU);
    int64_t at = 0;
    for (const size_t example : batches[i]) {
      const int64_t units = data.Units({&example, 1});
      rows[example] = all.narrow(0, at, units);
      at += units;
    }
  }
  return torch::cat(rows);
}

std::vector<int64_t> AnsweredClasses(const torch::Tensor& logits) {
  if (logits.size(0) == 0) return {};
  const torch::Tensor best = logits.argmax(1).contiguous();
  return {best.data_ptr<int64_t>(), best.data_ptr<int64_t>() + best.numel()};
}

std::vector<double> AnsweredValues(const torch::Tensor& logits) {
  const torch::Tensor values = logits.to(torch::kDouble).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

TaskMetrics MetricsOf(const GlueTask& task) { return {task.metrics, task.metrics.size()}; }

TaskMetrics MetricsOf(const LabelSet& labels) {
  switch (labels.kind) {
    case TaskKind::kClassification:
      if (labels.names.size() == 2) return {{Metric::kAccuracy, Metric::kF1}, 1};
      return {{Metric::kAccuracy}, 1};
    case TaskKind::kRegression:
      return {{Metric::kPearson, Metric::kSpearman}, 2};
    case TaskKind::kTokens:
      if (LooksLikeBio(labels.names)) return {{Metric::kEntityF1, Metric::kAccuracy}, 1};
      return {{Metric::kAccuracy}, 1};
  }
  GROVE_CHECK(false);
}

TaskScores ScoreAnswers(const TaskMetrics& metrics, const std::vector<AnsweredSet>& sets) {
  TaskScores scores;
  double sum = 0;
  for (const AnsweredSet& set : sets) {
    for (size_t i = 0; i < metrics.metrics.size(); ++i) {
      const double value = ScoreOne(metrics.metrics[i], *set.data, set.logits);
      scores.values.emplace_back(std::string(MetricName(metrics.metrics[i])) + set.suffix, value);
      if (i < metrics.scored) sum += value;
    }
  }
  scores.score = sum / static_cast<double>(metrics.scored * sets.size());
  return scores;
}

}  // namespace grove::train
