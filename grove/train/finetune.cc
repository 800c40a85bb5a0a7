// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/finetune.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <system_error>
#include <utility>

#include "grove/base/clock.h"
#include "grove/io/files.h"
#include "grove/io/json.h"
#include "grove/nn/parameters.h"
#include "grove/train/finetune_run.h"
#include "grove/train/task_files.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class Session {
 public:
  Session(const FinetuneOptions& options, const FinetuneContext& context) : options_(options), context_(context) {}

  Result<std::string> Execute();

 private:
  Result<FinetuneParts> Prepare();
  Result<LabelledText> ReadTrainingText();
  Status ReadData(const Tokenizer& tokenizer, FinetuneParts* parts);
  Result<Tokenizer> LoadTokenizer(const ModelDirectory& directory);
  Status PrepareFolder() const;
  Result<std::vector<RunResult>> RunAll(const FinetuneParts& parts, RunLog& log);
  Status Keep(const FinetuneParts& parts, const RunResult& result) const;
  Status MoveMedian(int64_t seed) const;
  Result<Json> Card(const FinetuneParts& parts, const std::vector<RunResult>& runs, const RunResult& median) const;

  std::string RunFolder(int64_t seed) const { return fmt::format("{}/runs/seed-{}", options_.output, seed); }
  // Kept until everything is checked, so that an error is the only sentence.
  void Notice(const std::string& sentence) {
    if (!sentence.empty()) notices_.push_back(sentence);
  }

  FinetuneOptions options_;  // `length` no longer than the model's
  const FinetuneContext& context_;
  TaskFiles files_;
  std::string tokenizer_json_;
  std::vector<std::string> notices_;
  double started_ = NowSeconds();
};

Result<Tokenizer> Session::LoadTokenizer(const ModelDirectory& directory) {
  if (directory.tokenizer_path.empty()) {
    return Error(ErrorCode::kNotFound, directory.path +
                                           " has neither tokenizer.json nor vocab.txt; add the tokenizer "
                                           "that the model was trained with");
  }
  GROVE_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(directory.tokenizer_path));
  if (static_cast<int64_t>(tokenizer.vocabulary_size()) > directory.config.vocabulary) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} has {} tokens and the model only {}; use the tokenizer that belongs to the model",
                             directory.tokenizer_path, tokenizer.vocabulary_size(), directory.config.vocabulary));
  }
  tokenizer_json_ = tokenizer.ToJson();
  return tokenizer;
}

// The training rows, as many as are to be used.
Result<LabelledText> Session::ReadTrainingText() {
  GROVE_ASSIGN_OR_RETURN(LabelledText text, ReadLabelledText(files_.train, files_.kind, files_.columns));
  const size_t count = text.rows.size(), limit = static_cast<size_t>(options_.max_examples);
  if (files_.glue != nullptr) {
    Notice(PartialFileNotice(*files_.glue, files_.train, static_cast<int64_t>(count), files_.train_rows));
  }
  if (limit == 0 || limit >= count) return text;
  for (size_t i = 1; i < limit; ++i) std::swap(text.rows[i], text.rows[i * count / limit]);
  text.rows.resize(limit);
  return text;
}

// Rows as examples; `dev` is read and checked against the training text.
Status Session::ReadData(const Tokenizer& tokenizer, FinetuneParts* parts) {
  GROVE_ASSIGN_OR_RETURN(const LabelledText train_text, ReadTrainingText());
  LabelSet labels{files_.kind, {}, true};
  if (files_.glue != nullptr) {
    labels.names = files_.glue->labels;
  } else {
    GROVE_ASSIGN_OR_RETURN(labels, LabelsOf(train_text, files_.kind));
  }
  const auto encode = [&](const LabelledText& text) -> Result<TaskData> {
    GROVE_ASSIGN_OR_RETURN(TaskData data, EncodeTask(text, labels, tokenizer, options_.length, *parts->pool));
    for (const std::string& notice : DataNotices(text, data, options_.length)) Notice(notice);
    return data;
  };
  GROVE_ASSIGN_OR_RETURN(parts->train, encode(train_text));
  for (const TaskFiles::Dev& file : files_.dev) {
    GROVE_ASSIGN_OR_RETURN(const LabelledText text, ReadLabelledText(file.path, files_.kind, files_.columns));
    if (files_.glue != nullptr) {
      Notice(PartialFileNotice(*files_.glue, file.path, static_cast<int64_t>(text.rows.size()), file.official_rows));
    }
    GROVE_RETURN_IF_ERROR(CheckSamePairs(train_text, text));
    GROVE_ASSIGN_OR_RETURN(TaskData data, encode(text));
    parts->dev.push_back({std::move(data), file.suffix});
  }
  return Ok{};
}

// Reads everything and checks it, before any work starts.
Result<FinetuneParts> Session::Prepare() {
  GROVE_RETURN_IF_ERROR(CheckOptions(options_));
  GROVE_ASSIGN_OR_RETURN(ModelDirectory pretrained, ModelDirectory::Open(options_.model));
  GROVE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, LoadTokenizer(pretrained));
  GROVE_ASSIGN_OR_RETURN(files_, FindTaskFiles(options_));
  if (options_.length > pretrained.config.max_length) {
    options_.length = pretrained.config.max_length;
    Notice(fmt::format("--length is {}, the longest input of {}", options_.length, options_.model));
  }
  FinetuneParts parts{
      options_, {}, {}, {}, std::move(pretrained), {}, {}, std::make_shared<ThreadPool>(context_.threads)};
  GROVE_RETURN_IF_ERROR(ReadData(tokenizer, &parts));
  const LabelSet& labels = parts.train.labels;
  GROVE_ASSIGN_OR_RETURN(parts.compute, ChooseCompute(options_.device, context_.threads, options_.bf16));
  parts.metrics = files_.glue != nullptr ? MetricsOf(*files_.glue) : MetricsOf(labels);
  const bool crammed = parts.pretrained.config.crammed();
  const bool mean = options_.pooler == "mean" || (options_.pooler == "auto" && crammed);
  if (mean && !crammed) {
    return Error(ErrorCode::kInvalidArgument,
                 "--pooler mean is for crammedBERT models; BERT and DistilBERT have a pooler of the first token");
  }
  parts.config = TaskConfig(parts.pretrained.config, labels,
                            {.pooler = mean ? PoolerKind::kMean : PoolerKind::kFirstToken,
                             .pooler_width = options_.pooler_width,
                             .dropout = options_.dropout});
  return parts;
}

Status Session::PrepareFolder() const {
  const std::string& folder = options_.output;
  std::error_code error;
  GROVE_RETURN_IF_ERROR(CheckKeepsInput(folder, options_.model, "--model"));
  if (fs::exists(folder + "/config.json", error)) {
    if (!context_.overwrite) {
      return Error(ErrorCode::kInvalidArgument,
                   folder + " holds a model already; pass --overwrite to replace it or choose another --output");
    }
    for (const char* name : {"config.json", "model.safetensors", "training.json"}) {
      fs::remove(folder + "/" + name, error);
    }
  }
  GROVE_RETURN_IF_ERROR(RemoveFolder(folder + "/runs"));
  fs::create_directories(folder, error);
  if (error) return Error(ErrorCode::kIo, "cannot create " + folder + ": " + error.message());
  return Ok{};
}

// Writes the run's weights to a folder of its own, until the median is known and the rest is written.
Status Session::Keep(const FinetuneParts& parts, const RunResult& result) const {
  const std::string folder = RunFolder(result.seed);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Error(ErrorCode::kIo, "cannot create " + folder + ": " + error.message());
  return nn::SaveModel(*result.model, parts.config, folder, {.bf16 = options_.save_dtype == "bf16"});
}

Status Session::MoveMedian(int64_t seed) const {
  std::error_code error;
  for (const char* name : {"model.safetensors", "config.json"}) {
    const std::string from = RunFolder(seed) + "/" + name, to = options_.output + "/" + name;
    fs::rename(from, to, error);
    if (error) return Error(ErrorCode::kIo, "cannot move " + from + " to " + to + ": " + error.message());
  }
  return RemoveFolder(options_.output + "/runs");
}

Result<std::vector<RunResult>> Session::RunAll(const FinetuneParts& parts, RunLog& log) {
  std::vector<RunResult> runs;
  for (int64_t run = 0; run < options_.seeds; ++run) {
    const auto report = [&](const RunProgress& progress) {
      if (context_.observer == nullptr) return;
      FinetuneReport out{run, options_.seeds, progress.epoch, options_.epochs, 0, progress.loss, {}};
      const double done = static_cast<double>(progress.step) / static_cast<double>(progress.steps);
      out.fraction = (static_cast<double>(run) + done) / static_cast<double>(options_.seeds);
      if (progress.scores != nullptr) out.score = progress.scores->score;
      context_.observer->Report(out);
    };
    GROVE_ASSIGN_OR_RETURN(RunResult result, RunFinetuning(parts, options_.seed + run, log, report));
    GROVE_RETURN_IF_ERROR(Keep(parts, result));
    result.model.reset();
    runs.push_back(std::move(result));
  }
  return runs;
}

Result<Json> Session::Card(const FinetuneParts& parts, const std::vector<RunResult>& runs,
                           const RunResult& median) const {
  Json card{{"task", files_.name}, {"kind", TaskKindName(files_.kind)}};
  std::vector<double> scores;
  std::vector<int64_t> seeds;
  for (const RunResult& run : runs) {
    scores.push_back(run.scores.score);
    seeds.push_back(run.seed);
  }
  card["score"] = Median(scores);
  for (size_t i = 0; i < median.scores.values.size(); ++i) {
    std::vector<double> values;
    for (const RunResult& run : runs) values.push_back(run.scores.values[i].second);
    card["metrics"][median.scores.values[i].first] = Median(values);
  }
  card["seeds"] = seeds;
  card["scores"] = scores;
  card["saved_seed"] = median.seed;
  card["saved_score"] = median.scores.score;
  card["saved_epoch_scores"] = median.epoch_scores;
  card["loss"] = median.loss;
  card["train"] = {{"path", parts.train.path}, {"rows", parts.train.examples.size()}};
  std::vector<std::string> paths;
  std::vector<size_t> rows;
  for (const DevelopmentSet& dev : parts.dev) {
    paths.push_back(dev.data.path);
    rows.push_back(dev.data.examples.size());
  }
  card["dev"] = {{"paths", paths}, {"rows", rows}};
  card["feed_forward"] = DescribeFeedForward(parts.config);
  card["seconds"] = NowSeconds() - started_;
  card["device"] = parts.compute.name;
  card["pretrained"] = {{"path", options_.model}};
  const std::string pretraining = options_.model + "/training.json";
  std::error_code error;
  if (fs::exists(pretraining, error)) {
    GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(pretraining));
    GROVE_ASSIGN_OR_RETURN(const nlohmann::json before, ParseJson(text, pretraining));
    for (const char* key : {"validation_loss", "tokens", "steps", "task", "score"}) {
      if (before.contains(key)) card["pretrained"][key] = before[key];
    }
  }
  FinetuneOptions options = options_;
  card["options"] = OptionsJson(FinetuneOptionList(options));
  return card;
}

Result<std::string> Session::Execute() {
  GROVE_ASSIGN_OR_RETURN(const FinetuneParts parts, Prepare());
  GROVE_RETURN_IF_ERROR(PrepareFolder());
  GROVE_ASSIGN_OR_RETURN(RunLog log, RunLog::Open(options_.output + "/log.jsonl"));
  GROVE_RETURN_IF_ERROR(log.CutTo(0));
  for (const std::string& notice : notices_) {
    if (context_.observer != nullptr) context_.observer->Notice(notice);
  }
  FinetuneOptions options = options_;
  GROVE_RETURN_IF_ERROR(log.Write({{"event", "start"},
                                   {"options", OptionsJson(FinetuneOptionList(options))},
                                   {"device", parts.compute.name},
                                   {"train_rows", parts.train.examples.size()}}));
  GROVE_ASSIGN_OR_RETURN(const std::vector<RunResult> runs, RunAll(parts, log));
  std::vector<size_t> order(runs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return runs[a].scores.score < runs[b].scores.score; });
  const RunResult& median = runs[order[(runs.size() - 1) / 2]];
  GROVE_ASSIGN_OR_RETURN(const Json card, Card(parts, runs, median));
  GROVE_RETURN_IF_ERROR(log.Write({{"event", "end"}, {"score", card["score"]}, {"seconds", card["seconds"]}}));
  GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/tokenizer.json", tokenizer_json_));
  GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/training.json", card.dump(1) + "\n"));
  GROVE_RETURN_IF_ERROR(MoveMedian(median.seed));
  return card.dump();
}

}  // namespace

Result<std::string> Finetune(const FinetuneOptions& options, const FinetuneContext& context) {
  try {
    Session session(options, context);
    return session.Execute();
  } catch (const c10::Error& error) {  // out of GPU memory, no such device: LibTorch throws
    const std::string text = error.what_without_backtrace();
    return Error(ErrorCode::kUnsupported, "LibTorch: " + text.substr(0, text.find('\n')));
  }
}

}  // namespace grove::train
