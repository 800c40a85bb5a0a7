// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Files of labelled texts, as their users have them:
//
//   TSV     one header line that names the columns, no quoting, fields stripped of blanks at both ends
//   JSONL   *.jsonl or *.json: one object a line, columns are keys; for words {"tokens": [...], "labels": [...]}
//   CoNLL   for words, where the file is no JSONL: `word<TAB>label` a line (of more columns the first and the last
//           count; without tabs, blanks separate), a blank line ends a sentence, -DOCSTART- lines are skipped
//
//   GROVE_ASSIGN_OR_RETURN(LabelledText text, ReadLabelledText("train.tsv", TaskKind::kClassification, {}));
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "grove/base/result.h"

namespace grove::train {

enum class TaskKind { kClassification, kRegression, kTokens };
std::string_view TaskKindName(TaskKind kind);  // "classification", "regression", "tokens"

struct LabelledRow {
  size_t line = 0;                                        // in the file, from 1
  std::string text = {}, pair = {};                       // pair: the second text of a pair
  std::string label = {};                                 // as the file spells it; empty in a file without labels
  std::string index = {};                                 // column "index", else the row's number from 0
  std::vector<std::string> words = {}, word_labels = {};  // TaskKind::kTokens instead of the above
};

struct LabelledText {
  std::string path;
  bool pairs = false, labelled = false;
  std::vector<LabelledRow> rows;  // at least one
  size_t skipped = 0;             // broken rows, where TextColumns::skip_broken_rows
};

// Which columns to read: of each list the first that the file has.
struct TextColumns {
  std::vector<std::string> text = {"sentence", "text", "sentence1", "text1", "tokens", "words"};
  std::vector<std::string> pair = {"sentence2", "text2"};
  std::vector<std::string> label = {"label", "labels", "score", "tags"};
  bool pair_required = false;  // else a file without is one of single texts
  bool label_required = true;
  bool skip_broken_rows = false;  // with too few fields; else an error
  // Columns of a file that begins with a row and not with a header; empty: every file has a header. Used where the
  // first line holds none of `text` and has as many fields.
  std::vector<std::string> without_header = {};
};

// An error names the file, the line and what was expected: no such column, a row with too few fields, an empty file,
// as many labels as words.
Result<LabelledText> ReadLabelledText(const std::string& path, TaskKind kind, const TextColumns& columns);

}  // namespace grove::train
