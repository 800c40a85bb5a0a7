// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Scores of fine-tuned models, and their answers in GLUE's submission format. What a model was trained for stands in
// its card (training.json); a model from elsewhere needs EvaluateOptions::task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/train/glue_tasks.h"
#include "grove/train/metrics.h"
#include "grove/train/options.h"

namespace grove::train {

struct EvaluateOptions {
  std::string task;         // of models without a card
  std::string glue;         // folder with GLUE's files, one folder a task; empty: the files that the cards name
  std::string data;         // rows to score models of one's own tasks on; empty: those that the cards name
  std::string predictions;  // folder for answers; empty: none
  std::string device = "auto";
  bool bf16 = true;
};

OptionList EvaluateOptionList(EvaluateOptions& options);

struct EvaluateContext {
  size_t threads = 1;
  std::function<void(const std::string& sentence)> notice = [](const std::string&) {};
};

struct ModelScores {
  std::string model;  // its folder
  std::string task;   // "SST-2", or the name of the training file
  bool glue = false;
  TaskScores scores;
  int64_t rows = 0;  // that were scored
  std::vector<std::string> files;
  std::vector<double> seed_scores;       // of all runs, as the card has them; the model's own among them
  std::vector<std::string> predictions;  // files that were written
};

struct Evaluation {
  std::vector<ModelScores> models;
  GlueAverage average;  // over the GLUE tasks among them; of two models of one task the last counts
};

// `models`: model directories, and folders that hold some. Predictions are made of test*.tsv where the task's folder
// has one, else of the rows that are scored, which a notice then says; MNLI models answer GLUE's diagnostic set too
// (AX) where `glue` has it.
Result<Evaluation> Evaluate(const std::vector<std::string>& models, const EvaluateOptions& options,
                            const EvaluateContext& context);

// The table as JSON: "models", "average", "average_without_cola", "missing".
nlohmann::ordered_json EvaluationJson(const Evaluation& evaluation);

}  // namespace grove::train
