// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "grove/io/files.h"
#include "grove/io/json.h"
#include "grove/io/model_directory.h"
#include "grove/train/task_files.h"
#include "grove/train/task_model.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using ParsedJson = nlohmann::json;

bool IsFile(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// What training.json says of a fine-tuned model; defaults where it is silent.
struct ModelCard {
  std::string task;
  std::vector<std::string> dev;
  int64_t length = 128;
  std::string text_column, pair_column, label_column;
  std::vector<double> scores;
};

Result<ModelCard> ReadCard(const std::string& folder) {
  ModelCard card;
  const std::string path = folder + "/training.json";
  if (!IsFile(path)) return card;
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  GROVE_ASSIGN_OR_RETURN(const ParsedJson json, ParseJson(text, path));
  try {
    card.task = json.value("task", "");
    if (json.contains("dev")) card.dev = json["dev"].value("paths", card.dev);
    card.scores = json.value("scores", card.scores);
    const ParsedJson options = json.value("options", ParsedJson::object());
    card.length = options.value("length", card.length);
    card.text_column = options.value("text_column", "");
    card.pair_column = options.value("pair_column", "");
    card.label_column = options.value("label_column", "");
  } catch (const ParsedJson::exception&) {
    return Error(ErrorCode::kCorrupt, path + " is no card of a fine-tuned model; fine-tune the model again");
  }
  return card;
}

// One model with what it is to be asked.
class Subject {
 public:
  // `written` has the files of all models' answers.
  Subject(std::string path, const EvaluateOptions& options, const EvaluateContext& context, const Compute& compute,
          ThreadPool& pool, std::set<std::string>& written)
      : path_(std::move(path)),
        options_(options),
        context_(context),
        compute_(compute),
        pool_(pool),
        written_(written) {}

  Result<ModelScores> Execute() {
    GROVE_RETURN_IF_ERROR(Open());
    GROVE_RETURN_IF_ERROR(Score());
    if (!options_.predictions.empty()) GROVE_RETURN_IF_ERROR(Predict());
    return std::move(result_);
  }

 private:
  struct Set {
    std::string path, suffix;
    int64_t official_rows = 0;
  };

  Status Open();
  Status FindTask(const ModelConfig& config);
  Result<std::vector<Set>> SetsToScore() const;
  Status Score();
  Result<TaskData> Read(const std::string& path, bool label_required);
  Status Predict();
  Status PredictGlue();
  Status WriteAnswers(const std::string& from, const std::string& name);

  std::string path_;
  const EvaluateOptions& options_;
  const EvaluateContext& context_;
  const Compute& compute_;
  ThreadPool& pool_;
  std::set<std::string>& written_;
  ModelCard card_;
  const GlueTask* glue_ = nullptr;
  LabelSet labels_;
  TextColumns columns_;
  std::optional<Tokenizer> tokenizer_;
  int64_t length_ = 0, pad_id_ = 0;
  std::shared_ptr<nn::TextModel> model_;
  ModelScores result_;
};

Status Subject::Open() {
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(path_));
  const ModelConfig& config = directory.config;
  if (!config.head.classifies()) {
    return Error(ErrorCode::kUnsupported, path_ + " is no fine-tuned model; run `grove-train finetune` on it first");
  }
  if (directory.tokenizer_path.empty()) {
    return Error(ErrorCode::kNotFound, path_ + " has neither tokenizer.json nor vocab.txt; add the model's tokenizer");
  }
  GROVE_ASSIGN_OR_RETURN(card_, ReadCard(path_));
  GROVE_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::Load(directory.tokenizer_path));
  if (static_cast<int64_t>(tokenizer_->vocabulary_size()) > config.vocabulary) {
    return Error(ErrorCode::kInvalidArgument, directory.tokenizer_path +
                                                  " has more tokens than the model; use the "
                                                  "tokenizer that belongs to it");
  }
  GROVE_RETURN_IF_ERROR(FindTask(config));
  length_ = std::min(card_.length, config.max_length);
  pad_id_ = config.pad_id;
  GROVE_ASSIGN_OR_RETURN(model_, nn::LoadTextModel(directory, {}));
  model_->to(compute_.device);
  return Ok{};
}

// What the model is for: --task, else its card, else its labels alone.
Status Subject::FindTask(const ModelConfig& config) {
  labels_ = LabelsOfModel(config);
  const std::string name = options_.task.empty() ? card_.task : options_.task;
  glue_ = FindGlueTask(name);
  result_.model = path_;
  result_.task = name.empty() ? fs::path(path_).filename().string() : name;
  result_.seed_scores = card_.scores;
  columns_ = OwnColumns(card_.text_column, card_.pair_column, card_.label_column);
  if (glue_ == nullptr) return Ok{};
  const auto labels = static_cast<int64_t>(glue_->labels.size());
  if (labels_.kind != glue_->kind || std::max<int64_t>(labels, 1) != config.head.labels) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} has a {} head of {} labels and {} is {} with {}; choose another --task", path_,
                             TaskKindName(labels_.kind), config.head.labels, glue_->name, TaskKindName(glue_->kind),
                             std::max<int64_t>(labels, 1)));
  }
  labels_ = {glue_->kind, glue_->labels, true};
  const bool own_columns = !card_.text_column.empty() || !card_.label_column.empty();
  if (!own_columns || !options_.glue.empty()) columns_ = glue_->columns;
  result_.task = glue_->name;
  result_.glue = true;
  return Ok{};
}

Result<std::vector<Subject::Set>> Subject::SetsToScore() const {
  std::vector<Set> sets;
  if (glue_ != nullptr && !options_.glue.empty()) {
    const std::string folder = TaskFolder(*glue_, options_.glue);
    for (const GlueSplit& split : glue_->splits) {
      GROVE_ASSIGN_OR_RETURN(std::string path, FindTaskFile(*glue_, folder, split.dev));
      sets.push_back({std::move(path), split.suffix, split.dev_rows});
    }
    return sets;
  }
  if (!options_.data.empty()) return std::vector<Set>{{options_.data, "", 0}};
  if (card_.dev.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 path_ + " does not say what it was scored on; name GLUE's folder with --glue or rows with --data");
  }
  const bool all = glue_ != nullptr && card_.dev.size() == glue_->splits.size();
  for (size_t i = 0; i < card_.dev.size(); ++i) {
    sets.push_back({card_.dev[i], all ? glue_->splits[i].suffix : "", all ? glue_->splits[i].dev_rows : 0});
  }
  return sets;
}

Result<TaskData> Subject::Read(const std::string& path, bool label_required) {
  TextColumns columns = columns_;
  columns.label_required = label_required;
  GROVE_ASSIGN_OR_RETURN(const LabelledText text, ReadLabelledText(path, labels_.kind, columns));
  GROVE_ASSIGN_OR_RETURN(TaskData data, EncodeTask(text, labels_, *tokenizer_, length_, pool_));
  for (const std::string& notice : DataNotices(text, data, length_)) context_.notice(notice);
  return data;
}

Status Subject::Score() {
  GROVE_ASSIGN_OR_RETURN(const std::vector<Set> sets, SetsToScore());
  std::vector<TaskData> data;
  for (const Set& set : sets) {
    GROVE_ASSIGN_OR_RETURN(TaskData rows, Read(set.path, /*label_required=*/true));
    const auto count = static_cast<int64_t>(rows.examples.size());
    if (glue_ != nullptr) {
      const std::string notice = PartialFileNotice(*glue_, set.path, count, set.official_rows);
      if (!notice.empty()) context_.notice(notice);
    }
    result_.rows += count;
    result_.files.push_back(set.path);
    data.push_back(std::move(rows));
  }
  std::vector<AnsweredSet> answered;
  for (size_t i = 0; i < sets.size(); ++i) {
    answered.push_back({&data[i], Answer(*model_, data[i], pad_id_, compute_, pool_), sets[i].suffix});
  }
  result_.scores = ScoreAnswers(glue_ != nullptr ? MetricsOf(*glue_) : MetricsOf(labels_), answered);
  return Ok{};
}

// Labels by name, values (GLUE's clipped to its range), or the labels of the words with blanks between them.
std::string AnswersText(const TaskData& data, const torch::Tensor& logits, const GlueTask* glue) {
  if (data.labels.kind == TaskKind::kRegression) {
    return SubmissionText(data.index, AnsweredValues(logits), /*clip=*/glue != nullptr);
  }
  const std::vector<int64_t> classes = AnsweredClasses(logits);
  std::vector<std::string> answers;
  size_t at = 0;
  for (size_t i = 0; i < data.examples.size(); ++i) {
    std::string& answer = answers.emplace_back();
    const int64_t units = data.Units({&i, 1});
    for (int64_t unit = 0; unit < units; ++unit) {
      answer += (unit == 0 ? "" : " ") + data.labels.names[static_cast<size_t>(classes[at++])];
    }
  }
  return SubmissionText(data.index, answers);
}

Status Subject::WriteAnswers(const std::string& from, const std::string& name) {
  GROVE_ASSIGN_OR_RETURN(const TaskData data, Read(from, /*label_required=*/false));
  const torch::Tensor logits = Answer(*model_, data, pad_id_, compute_, pool_);
  const std::string path = options_.predictions + "/" + name;
  if (!written_.insert(path).second) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} has the answers of another of the models already; evaluate {} alone, with "
                             "another --predictions",
                             path, path_));
  }
  GROVE_RETURN_IF_ERROR(WriteTextFile(path, AnswersText(data, logits, glue_)));
  result_.predictions.push_back(path);
  return Ok{};
}

Status Subject::Predict() {
  std::error_code error;
  fs::create_directories(options_.predictions, error);
  if (error) return Error(ErrorCode::kIo, "cannot create " + options_.predictions + ": " + error.message());
  if (glue_ != nullptr) return PredictGlue();
  return WriteAnswers(result_.files[0], fs::path(path_ + "/").parent_path().filename().string() + ".tsv");
}

Status Subject::PredictGlue() {
  const std::string folder =
      options_.glue.empty() ? fs::path(result_.files[0]).parent_path().string() : TaskFolder(*glue_, options_.glue);
  for (size_t i = 0; i < glue_->splits.size(); ++i) {
    const GlueSplit& split = glue_->splits[i];
    const Result<std::string> test = FindTaskFile(*glue_, folder, split.test);
    const std::string from = test.ok() ? test.value() : result_.files[std::min(i, result_.files.size() - 1)];
    if (!test.ok()) {
      context_.notice(fmt::format("{} has no {}.tsv, so {} answers {}, which GLUE's server does not take", folder,
                                  split.test, split.submission, from));
    }
    GROVE_RETURN_IF_ERROR(WriteAnswers(from, split.submission));
  }
  if (glue_->name != "MNLI") return Ok{};
  for (const char* place : {"/AX/diagnostic.tsv", "/AX/AX.tsv", "/diagnostic/diagnostic.tsv", "/MNLI/diagnostic.tsv"}) {
    const std::string diagnostic = fs::path(folder).parent_path().string() + place;
    if (IsFile(diagnostic)) return WriteAnswers(diagnostic, "AX.tsv");
  }
  return Ok{};
}

// Model directories among `paths` and in the folders among them, the latter in order of their names.
Result<std::vector<std::string>> FindModels(const std::vector<std::string>& paths, const EvaluateContext& context) {
  std::vector<std::string> models;
  for (const std::string& path : paths) {
    std::error_code error;
    if (IsFile(path + "/config.json") || !fs::is_directory(path, error)) {
      models.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : fs::directory_iterator(path, error)) {
      const std::string inner = entry.path().string();
      if (!IsFile(inner + "/config.json")) continue;
      const Result<ModelDirectory> directory = ModelDirectory::Open(inner);
      if (directory.ok() && !directory.value().config.head.classifies()) {
        context.notice(inner + " is no fine-tuned model and is left out");
        continue;
      }
      inside.push_back(inner);
    }
    if (inside.empty()) {
      return Error(ErrorCode::kNotFound,
                   path + " is no model directory and holds none that is fine-tuned; name fine-tuned models");
    }
    std::sort(inside.begin(), inside.end());
    models.insert(models.end(), inside.begin(), inside.end());
  }
  return models;
}

Result<Evaluation> EvaluateChecked(const std::vector<std::string>& models, const EvaluateOptions& options,
                                   const EvaluateContext& context) {
  if (!options.task.empty() && FindGlueTask(options.task) == nullptr) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("--task is {} and must be one of {}", options.task, GlueTaskNames()));
  }
  GROVE_ASSIGN_OR_RETURN(const std::vector<std::string> found, FindModels(models, context));
  GROVE_ASSIGN_OR_RETURN(const Compute compute, ChooseCompute(options.device, context.threads, options.bf16));
  ThreadPool pool(context.threads);
  Evaluation evaluation;
  std::map<std::string, double> scores;
  std::set<std::string> written;
  for (const std::string& model : found) {
    Subject subject(model, options, context, compute, pool, written);
    GROVE_ASSIGN_OR_RETURN(ModelScores result, subject.Execute());
    if (result.glue) scores[result.task] = result.scores.score;
    evaluation.models.push_back(std::move(result));
  }
  evaluation.average = AverageGlue(scores);
  return evaluation;
}

}  // namespace

OptionList EvaluateOptionList(EvaluateOptions& o) {
  return {
      {"task", &o.task, "GLUE task of models without a card (training.json): " + GlueTaskNames()},
      {"glue", &o.glue, "Folder with GLUE's files, one folder a task; default: the files that the cards name"},
      {"data", &o.data, "Rows to score models on, TSV or JSONL; default: those that the cards name"},
      {"predictions", &o.predictions, "Folder for the answers, in GLUE's submission format"},
      {"device", &o.device, "Where to compute", 0, 0, "auto cpu cuda"},
      {"bf16", &o.bf16, "On a GPU: autocast to bf16"},
  };
}

Result<Evaluation> Evaluate(const std::vector<std::string>& models, const EvaluateOptions& options,
                            const EvaluateContext& context) {
  try {
    return EvaluateChecked(models, options, context);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return Error(ErrorCode::kUnsupported, "LibTorch: " + text.substr(0, text.find('\n')));
  }
}

nlohmann::ordered_json EvaluationJson(const Evaluation& evaluation) {
  nlohmann::ordered_json json{{"models", nlohmann::ordered_json::array()}};
  for (const ModelScores& model : evaluation.models) {
    nlohmann::ordered_json row{{"model", model.model}, {"task", model.task}, {"score", model.scores.score}};
    for (const auto& [name, value] : model.scores.values) row["metrics"][name] = value;
    row["rows"] = model.rows;
    row["files"] = model.files;
    if (!model.seed_scores.empty()) row["seed_scores"] = model.seed_scores;
    if (!model.predictions.empty()) row["predictions"] = model.predictions;
    json["models"].push_back(row);
  }
  const GlueAverage& average = evaluation.average;
  if (average.with_cola) json["average"] = *average.with_cola;
  if (average.without_cola) json["average_without_cola"] = *average.without_cola;
  if (average.with_cola || average.without_cola) json["missing"] = average.missing;
  return json;
}

}  // namespace grove::train
