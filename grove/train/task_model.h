// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Models of tasks: made from a pretrained encoder, their loss, their answers and how well they score.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grove/io/model_directory.h"
#include "grove/nn/text_model.h"
#include "grove/train/compute.h"
#include "grove/train/glue_tasks.h"
#include "grove/train/metrics.h"
#include "grove/train/task_data.h"

namespace grove::train {

// What is new in a model of a task.
struct TaskHead {
  PoolerKind pooler = PoolerKind::kFirstToken;  // of a BERT no other
  int64_t pooler_width = 1024;                  // of the tanh layer; a BERT's is as wide as the encoder
  double dropout = 0.1;
};

// The pretrained model's configuration with a head for `labels`: pooler and tanh layer, or a label for every token.
ModelConfig TaskConfig(const ModelConfig& pretrained, const LabelSet& labels, const TaskHead& head);

// The set that a fine-tuned model's configuration describes.
LabelSet LabelsOfModel(const ModelConfig& config);

// A model of that configuration: encoder (and a BERT's pooler) from the directory, the rest with initial weights from
// LibTorch's generator.
Result<std::shared_ptr<nn::TextModel>> MakeTaskModel(const ModelConfig& config, const ModelDirectory& pretrained,
                                                     const nn::ModuleOptions& options);

// Cross-entropy (natural log), or squared error for regression, summed over the batch's units; fp32.
torch::Tensor TaskLossSum(const torch::Tensor& logits, const TaskBatch& batch);

// The model's answers to all examples, in their order: [units, labels], fp32 on the CPU. The model is in evaluation
// mode afterwards. On a CPU the pool's threads share it.
torch::Tensor Answer(nn::TextModel& model, const TaskData& data, int64_t pad_id, const Compute& compute,
                     ThreadPool& pool);

// The class with the largest logit, by unit.
std::vector<int64_t> AnsweredClasses(const torch::Tensor& logits);
std::vector<double> AnsweredValues(const torch::Tensor& logits);  // regression

// How a task is scored: the score is the mean of the first `scored` metrics, over all its sets (MNLI has two).
struct TaskMetrics {
  std::vector<Metric> metrics;
  size_t scored = 1;
};
TaskMetrics MetricsOf(const GlueTask& task);
// Classification: accuracy (and F1 of the second of two classes, unscored); regression: Pearson and Spearman; tokens:
// accuracy, and before it entity F1 where the labels look like BIO.
TaskMetrics MetricsOf(const LabelSet& labels);

// A set, its answers, and what is appended to the metrics' names.
struct AnsweredSet {
  const TaskData* data;
  torch::Tensor logits;
  std::string suffix;
};
TaskScores ScoreAnswers(const TaskMetrics& metrics, const std::vector<AnsweredSet>& sets);

}  // namespace grove::train
