// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Which files a fine-tuning reads and as what: those of a GLUE task, or the user's own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/train/finetune_options.h"
#include "grove/train/glue_tasks.h"
#include "grove/train/labelled_text.h"
#include "grove/train/task_data.h"

namespace grove::train {

struct TaskFiles {
  std::string name;                // "SST-2", or the training file's name
  const GlueTask* glue = nullptr;  // null: files of one's own
  TaskKind kind = TaskKind::kClassification;
  TextColumns columns;
  std::string train;
  int64_t train_rows = 0;  // of the official file; 0: another one
  struct Dev {
    std::string path, suffix;
    int64_t official_rows = 0;
  };
  std::vector<Dev> dev;
};

// `options` are checked ones.
Result<TaskFiles> FindTaskFiles(const FinetuneOptions& options);

// The columns to read of files of one's own.
TextColumns OwnColumns(const std::string& text, const std::string& pair, const std::string& label);

// An error if one file holds pairs and the other single texts.
Status CheckSamePairs(const LabelledText& train, const LabelledText& dev);

// Sentences about rows that were cut or left out.
std::vector<std::string> DataNotices(const LabelledText& text, const TaskData& data, int64_t length);

}  // namespace grove::train
