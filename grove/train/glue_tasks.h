// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The GLUE tasks (arXiv 1804.07461) by name: columns, labels, metrics, files and the format of a submission. Files are
// found in the layout of GLUE's own download (CoLA without header, SST-2, MRPC, ... with their columns) and in one
// where every task has `sentence, label` or `sentence1, sentence2, label`.
//
//   const GlueTask* task = FindGlueTask("sst-2");
//   GROVE_ASSIGN_OR_RETURN(const std::string dev, FindTaskFile(*task, "glue_data/SST-2", task->splits[0].dev));
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grove/base/result.h"
#include "grove/train/labelled_text.h"
#include "grove/train/metrics.h"

namespace grove::train {

// A set that a task is scored on: MNLI has two.
struct GlueSplit {
  std::string suffix;      // of the metrics' names: "" or "_mm"
  std::string dev, test;   // how the files begin: "dev", "dev_matched"
  std::string submission;  // "MNLI-m.tsv"
  int64_t dev_rows = 0;    // of the official file
};

struct GlueTask {
  std::string name;  // "SST-2", also the folder's
  TaskKind kind = TaskKind::kClassification;
  std::vector<std::string> labels;  // by number, as submissions spell them
  TextColumns columns;
  std::vector<Metric> metrics;  // the task's score is their mean
  std::vector<GlueSplit> splits;
  int64_t train_rows = 0;  // of the official file
};

std::span<const GlueTask> GlueTasks();
std::string GlueTaskNames();  // "CoLA, SST-2, ..."
// Case, '-' and '_' do not matter. Null: no such task.
const GlueTask* FindGlueTask(std::string_view name);

// The folder of a task: `folder` itself, or its subfolder of the task's name (for GLUE's root).
std::string TaskFolder(const GlueTask& task, const std::string& folder);
// `folder`/`stem`.tsv, else the only file whose name begins with `stem` and ends with .tsv (dev_part.tsv). None: an
// error that says what the folder holds and how large the official file is.
Result<std::string> FindTaskFile(const GlueTask& task, const std::string& folder, const std::string& stem);
// A sentence if `rows` is not the official number, else empty.
std::string PartialFileNotice(const GlueTask& task, const std::string& path, int64_t rows, int64_t official);

// Means of the tasks' scores. Left out: WNLI, whose development set misleads (its sentences are those of the training
// set with the answers turned round), as in the BERT papers.
struct GlueAverage {
  std::optional<double> with_cola, without_cola;  // with: only if CoLA is there; without: if any other is
  std::vector<std::string> missing;               // tasks of the full average (eight of them) that are not there
};
GlueAverage AverageGlue(const std::map<std::string, double>& scores);

// A submission's file: `index<TAB>prediction`, then a row for every answer.
std::string SubmissionText(std::span<const std::string> index, std::span<const std::string> answers);
// Values with three decimals; `clip`: to 0..5, as GLUE asks of STS-B.
std::string SubmissionText(std::span<const std::string> index, std::span<const double> values, bool clip);

}  // namespace grove::train
