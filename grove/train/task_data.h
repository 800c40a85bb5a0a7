// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Labelled rows as token ids and numbers, and batches of them.
//
//   GROVE_ASSIGN_OR_RETURN(const LabelSet labels, LabelsOf(train_text, TaskKind::kClassification));
//   GROVE_ASSIGN_OR_RETURN(const TaskData train, EncodeTask(train_text, labels, tokenizer, 128, pool));
//   for (const std::vector<size_t>& batch : EpochBatches(train, 16, seed, epoch)) MakeTaskBatch(train, batch, pad_id);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/base/thread_pool.h"
#include "grove/nn/text_model.h"
#include "grove/text/tokenizer.h"
#include "grove/train/labelled_text.h"

namespace grove::train {

// What the labels of a task may be.
struct LabelSet {
  TaskKind kind = TaskKind::kClassification;
  std::vector<std::string> names;  // of the classes, by number; none for regression
  bool numbers_too = false;        // a label may be given as its number (GLUE's files spell it both ways)
};

// The labels that occur, sorted: whole numbers by value, else by text. An error if there is only one, or if those of a
// classification look like values.
Result<LabelSet> LabelsOf(const LabelledText& text, TaskKind kind);

struct TaskExample {
  std::vector<int32_t> ids;  // [CLS] a [SEP], [CLS] a [SEP] b [SEP], or the pieces of words between [CLS] and [SEP]
  std::vector<int32_t> type_ids;
  std::vector<int64_t> positions;  // tokens: the first piece of every word that fits
  std::vector<int64_t> classes;    // one, or one for each position; none: unlabelled
  float value = 0;                 // regression
};

struct TaskData {
  std::string path;
  LabelSet labels;
  bool labelled = false;
  std::vector<TaskExample> examples;
  std::vector<std::string> index;  // of the examples, for submissions
  int64_t cut = 0;                 // examples that were longer than the limit
  int64_t words_lost = 0;          // tokens: words beyond it, which have no prediction

  // What a loss and a score count: examples, or words for token classification.
  int64_t Units(std::span<const size_t> examples) const;
};

// `length`: most tokens of an example, special ones counted; of a pair the longer text gives first. An error names the
// row whose label is not in the set or whose text is no UTF-8.
Result<TaskData> EncodeTask(const LabelledText& text, const LabelSet& labels, const Tokenizer& tokenizer,
                            int64_t length, ThreadPool& pool);

// Examples of the epoch's batches; every example once. Shuffled with (seed, epoch) alone; windows of 50 batches are
// then sorted by length, so that a batch holds texts of about one length, and their batches shuffled again.
std::vector<std::vector<size_t>> EpochBatches(const TaskData& data, int64_t batch, uint64_t seed, int64_t epoch);
// Batches in order of length, for scoring.
std::vector<std::vector<size_t>> ScoringBatches(const TaskData& data, int64_t batch);

struct TaskBatch {
  nn::TextInput input;      // padded to the longest example; no mask if there is no padding
  torch::Tensor positions;  // tokens: [words], indices into the flattened ids; else undefined
  torch::Tensor classes;    // [units] int64; undefined for regression and without labels
  torch::Tensor values;     // [units] fp32; regression

  TaskBatch To(const torch::Device& device) const;
};
// `pinned`: in pinned memory, so that the copy to a GPU need not be waited for.
TaskBatch MakeTaskBatch(const TaskData& data, std::span<const size_t> examples, int64_t pad_id, bool pinned = false);

}  // namespace grove::train
