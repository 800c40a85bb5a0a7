// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/task_files.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

namespace grove::train {
namespace {

TaskKind KindNamed(const std::string& name) {
  for (const TaskKind kind : {TaskKind::kRegression, TaskKind::kTokens}) {
    if (name == TaskKindName(kind)) return kind;
  }
  return TaskKind::kClassification;
}

}  // namespace

TextColumns OwnColumns(const std::string& text, const std::string& pair, const std::string& label) {
  TextColumns columns;
  if (!text.empty()) columns.text = {text};
  if (!label.empty()) columns.label = {label};
  if (!pair.empty()) columns.pair = {pair};
  columns.pair_required = !pair.empty();
  return columns;
}

Result<TaskFiles> FindTaskFiles(const FinetuneOptions& options) {
  TaskFiles files;
  files.glue = options.task.empty() ? nullptr : FindGlueTask(options.task);
  const bool own_columns =
      !options.text_column.empty() || !options.pair_column.empty() || !options.label_column.empty();
  if (files.glue == nullptr) {
    files.name = std::filesystem::path(options.train).filename().string();
    files.kind = KindNamed(options.kind);
    files.columns = OwnColumns(options.text_column, options.pair_column, options.label_column);
    files.train = options.train;
    files.dev = {{options.dev, "", 0}};
    return files;
  }
  const GlueTask& task = *files.glue;
  files.name = task.name;
  files.kind = task.kind;
  files.columns =
      own_columns ? OwnColumns(options.text_column, options.pair_column, options.label_column) : task.columns;
  const std::string folder = options.data.empty() ? "" : TaskFolder(task, options.data);
  files.train = options.train;
  if (files.train.empty()) {
    GROVE_ASSIGN_OR_RETURN(files.train, FindTaskFile(task, folder, "train"));
    files.train_rows = task.train_rows;
  }
  if (!options.dev.empty()) {
    files.dev = {{options.dev, "", 0}};
    return files;
  }
  for (const GlueSplit& split : task.splits) {
    GROVE_ASSIGN_OR_RETURN(std::string path, FindTaskFile(task, folder, split.dev));
    files.dev.push_back({std::move(path), split.suffix, split.dev_rows});
  }
  return files;
}

Status CheckSamePairs(const LabelledText& train, const LabelledText& dev) {
  if (train.pairs == dev.pairs) return Ok{};
  return Error(ErrorCode::kInvalidArgument, fmt::format("{} holds {} and {} holds {}; give both the same columns",
                                                        train.path, train.pairs ? "pairs of texts" : "single texts",
                                                        dev.path, dev.pairs ? "pairs of texts" : "single texts"));
}

std::vector<std::string> DataNotices(const LabelledText& text, const TaskData& data, int64_t length) {
  std::vector<std::string> notices;
  if (text.skipped > 0) {
    notices.push_back(fmt::format("{}: {} rows with missing fields are left out", text.path, text.skipped));
  }
  if (data.cut > 0) {
    notices.push_back(fmt::format("{}: {} of {} rows are longer than {} tokens and are cut", text.path, data.cut,
                                  data.examples.size(), length));
  }
  if (data.words_lost > 0) {
    notices.push_back(fmt::format("{}: {} words beyond that have no prediction and are not scored; raise --length",
                                  text.path, data.words_lost));
  }
  return notices;
}

}  // namespace grove::train
