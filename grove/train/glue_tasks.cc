// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/glue_tasks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>  // join

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iterator>
#include <system_error>

namespace grove::train {
namespace {

namespace fs = std::filesystem;

constexpr auto kClassification = TaskKind::kClassification;
const std::vector<Metric> kAccuracyOnly = {Metric::kAccuracy};
const std::vector<Metric> kAccuracyAndF1 = {Metric::kAccuracy, Metric::kF1};
const std::vector<std::string> kEntailment = {"entailment", "not_entailment"};
const std::vector<std::string> kTwoClasses = {"0", "1"};

TextColumns Single() { return {.text = {"sentence"}, .pair = {}, .label = {"label"}, .skip_broken_rows = true}; }

TextColumns Pair(std::vector<std::string> text, std::vector<std::string> pair, std::vector<std::string> label) {
  return {.text = std::move(text),
          .pair = std::move(pair),
          .label = std::move(label),
          .pair_required = true,
          .skip_broken_rows = true};
}

TextColumns PlainPair() { return Pair({"sentence1"}, {"sentence2"}, {"label"}); }

std::vector<GlueSplit> OneSplit(const std::string& name, int64_t rows) {
  return {{"", "dev", "test", name + ".tsv", rows}};
}

std::vector<GlueTask> MakeTasks() {
  std::vector<GlueTask> tasks;
  // Development rows and training rows as GLUE published them.
  const auto add = [&](std::string name, std::vector<std::string> labels, TextColumns columns,
                       std::vector<Metric> metrics, int64_t train, int64_t dev) -> GlueTask& {
    tasks.push_back(
        {name, kClassification, std::move(labels), std::move(columns), std::move(metrics), OneSplit(name, dev), train});
    return tasks.back();
  };
  TextColumns cola = Single();
  cola.without_header = {"source", "label", "mark", "sentence"};
  add("CoLA", kTwoClasses, cola, {Metric::kMatthews}, 8551, 1043);
  add("SST-2", kTwoClasses, Single(), kAccuracyOnly, 67349, 872);
  add("MRPC", kTwoClasses, Pair({"sentence1", "#1 String"}, {"sentence2", "#2 String"}, {"label", "Quality"}),
      kAccuracyAndF1, 3668, 408);
  add("QQP", kTwoClasses, Pair({"sentence1", "question1"}, {"sentence2", "question2"}, {"label", "is_duplicate"}),
      kAccuracyAndF1, 363846, 40430);
  GlueTask& similarity = add("STS-B", {}, Pair({"sentence1"}, {"sentence2"}, {"label", "score"}),
                             {Metric::kPearson, Metric::kSpearman}, 5749, 1500);
  similarity.kind = TaskKind::kRegression;
  GlueTask& mnli = add("MNLI", {"entailment", "neutral", "contradiction"},
                       Pair({"sentence1"}, {"sentence2"}, {"gold_label", "label"}), kAccuracyOnly, 392702, 9815);
  mnli.splits = {{"", "dev_matched", "test_matched", "MNLI-m.tsv", 9815},
                 {"_mm", "dev_mismatched", "test_mismatched", "MNLI-mm.tsv", 9832}};
  add("QNLI", kEntailment, Pair({"sentence1", "question"}, {"sentence2", "sentence"}, {"label"}), kAccuracyOnly, 104743,
      5463);
  add("RTE", kEntailment, PlainPair(), kAccuracyOnly, 2490, 277);
  add("WNLI", kTwoClasses, PlainPair(), kAccuracyOnly, 635, 71);
  return tasks;
}

std::string Plain(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c != '-' && c != '_') plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return plain;
}

std::vector<std::string> TsvFiles(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".tsv")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

int64_t OfficialRows(const GlueTask& task, const std::string& stem) {
  if (stem == "train") return task.train_rows;
  for (const GlueSplit& split : task.splits) {
    if (split.dev == stem) return split.dev_rows;
  }
  return 0;
}

}  // namespace

std::span<const GlueTask> GlueTasks() {
  static const std::vector<GlueTask> kTasks = MakeTasks();
  return kTasks;
}

std::string GlueTaskNames() {
  std::vector<std::string> names;
  for (const GlueTask& task : GlueTasks()) names.push_back(task.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

const GlueTask* FindGlueTask(std::string_view name) {
  for (const GlueTask& task : GlueTasks()) {
    if (Plain(task.name) == Plain(name)) return &task;
  }
  return nullptr;
}

std::string TaskFolder(const GlueTask& task, const std::string& folder) {
  std::error_code error;
  const std::string inside = folder + "/" + task.name;
  return fs::is_directory(inside, error) ? inside : folder;
}

Result<std::string> FindTaskFile(const GlueTask& task, const std::string& folder, const std::string& stem) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return Error(ErrorCode::kNotFound, fmt::format("{} is no folder; name the one with {}'s files", folder, task.name));
  }
  const std::vector<std::string> names = TsvFiles(folder);
  std::vector<std::string> found;
  for (const std::string& name : names) {
    if (name == stem + ".tsv") return folder + "/" + name;
    if (name.starts_with(stem)) found.push_back(name);
  }
  if (found.size() == 1) return folder + "/" + found[0];
  const std::string holds = names.empty() ? "no .tsv file" : fmt::format("{}", fmt::join(names, ", "));
  const int64_t rows = OfficialRows(task, stem);
  return Error(ErrorCode::kNotFound,
               fmt::format("{0} holds {1} and so not the one {2}.tsv that {3} needs; put the official file{4} there",
                           folder, holds, stem, task.name, rows > 0 ? fmt::format(" of {} rows", rows) : ""));
}

std::string PartialFileNotice(const GlueTask& task, const std::string& path, int64_t rows, int64_t official) {
  if (rows == official || official == 0) return "";
  return fmt::format("{} has {} rows and the official {} file {}: do not compare scores with published ones", path,
                     rows, task.name, official);
}

GlueAverage AverageGlue(const std::map<std::string, double>& scores) {
  GlueAverage average;
  double sum = 0, others = 0;
  for (const GlueTask& task : GlueTasks()) {
    if (task.name == "WNLI") continue;
    const auto found = scores.find(task.name);
    if (found == scores.end()) {
      average.missing.push_back(task.name);
    } else if (task.name != "CoLA") {
      sum += found->second;
      others += 1;
    }
  }
  if (others > 0) average.without_cola = sum / others;
  if (const auto cola = scores.find("CoLA"); cola != scores.end()) {
    average.with_cola = (sum + cola->second) / (others + 1);
  }
  return average;
}

std::string SubmissionText(std::span<const std::string> index, std::span<const std::string> answers) {
  std::string text = "index\tprediction\n";
  for (size_t i = 0; i < index.size(); ++i) text += fmt::format("{}\t{}\n", index[i], answers[i]);
  return text;
}

std::string SubmissionText(std::span<const std::string> index, std::span<const double> values, bool clip) {
  std::vector<std::string> answers;
  for (const double value : values) {
    answers.push_back(fmt::format("{:.3f}", clip ? std::clamp(value, 0.0, 5.0) : value));
  }
  return SubmissionText(index, answers);
}

}  // namespace grove::train
