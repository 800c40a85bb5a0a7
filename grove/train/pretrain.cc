// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/pretrain.h"

#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "grove/io/files.h"
#include "grove/train/initial_model.h"
#include "grove/train/process_group.h"
#include "grove/train/run_log.h"
#include "grove/train/train_loop.h"
#include "grove/train/training_run.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Makes the output folder ready: empty, or holding the run that is to be resumed.
Status PrepareFolder(const PretrainOptions& options, const PretrainContext& context) {
  const std::string& folder = options.output;
  const std::string checkpoints = folder + "/checkpoints";
  std::error_code error;
  const auto size = fs::file_size(folder + "/log.jsonl", error);
  const bool used = (!error && size > 0) || fs::exists(folder + "/config.json", error);
  if (used && !context.resume && !context.overwrite) {
    return Error(ErrorCode::kInvalidArgument,
                 folder + " holds a run already; pass --resume to go on or --overwrite to start again");
  }
  const bool model = fs::exists(folder + "/config.json", error);
  if (model && context.resume && !context.overwrite &&
      (!fs::exists(checkpoints, error) || fs::is_empty(checkpoints, error))) {
    return Error(ErrorCode::kInvalidArgument, folder +
                                                  " holds a model and no checkpoint to go on from; pass --overwrite to "
                                                  "replace the model or choose another --output");
  }
  if (context.overwrite && !context.resume) {
    for (const char* name : {"config.json", "model.safetensors", "training.json"})
      fs::remove(folder + "/" + name, error);
    GROVE_RETURN_IF_ERROR(RemoveFolder(checkpoints));
    GROVE_RETURN_IF_ERROR(RemoveFolder(folder + "/tensorboard"));
  }
  fs::create_directories(checkpoints, error);
  if (error) return Error(ErrorCode::kIo, "cannot create " + checkpoints + ": " + error.message());
  return Ok{};
}

Status OpenOutput(const PretrainOptions& options, const PretrainContext& context, std::optional<RunLog>* log) {
  GROVE_RETURN_IF_ERROR(PrepareFolder(options, context));
  const std::string tensorboard = options.tensorboard ? options.output + "/tensorboard" : "";
  GROVE_ASSIGN_OR_RETURN(RunLog opened, RunLog::Open(options.output + "/log.jsonl", tensorboard));
  log->emplace(std::move(opened));
  return Ok{};
}

// Ranks that differ in anything that decides when they talk to each other would wait for each other forever.
Status CheckSameJob(const PretrainOptions& recipe, ProcessGroup& group, const TrainingData& data,
                    const TrainingTask& task) {
  if (recipe.MicroBatch() < group.size()) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("--micro-batch is {} for {} processes; every one needs a sequence of each micro-batch",
                             recipe.MicroBatch(), group.size()));
  }
  Json own = OptionsJson(task.options);
  for (const char* key : {"about", "data", "output", "start_from"})
    own.erase(key);  // folders may differ from machine to machine
  own["the data"] = data.card();
  GROVE_ASSIGN_OR_RETURN(const std::string text, group.meeting().FromFirst(own.dump()));
  const Json firsts = Json::parse(text);
  Status same = Ok{};
  for (const auto& [key, value] : own.items()) {
    if (!firsts.contains(key) || firsts[key] == value) continue;
    same = Error(ErrorCode::kInvalidArgument,
                 key == "the data"
                     ? fmt::format("rank {} has other packed text than rank 0; give all the same", group.rank())
                     : fmt::format("rank {} was started with {} {} but rank 0 with {}; give all the same options",
                                   group.rank(), key, value.dump(), firsts[key].dump()));
    break;
  }
  return group.meeting().Agree(same);
}

Result<PretrainSummary> PretrainChecked(const PretrainOptions& options, const PretrainContext& context) {
  GROVE_RETURN_IF_ERROR(CheckOptions(options, /*writes=*/!context.dry_run));
  GROVE_RETURN_IF_ERROR(CheckKeepsInput(options.output, options.start_from, "--start-from"));
  GROVE_ASSIGN_OR_RETURN(Compute compute, ComputeOf(options, context));
  GROVE_ASSIGN_OR_RETURN(TrainingData data, DataOf(options, compute));
  GROVE_ASSIGN_OR_RETURN(const ModelConfig config,
                         InitialModelConfig(options, {data.vocabulary(), data.pad_id(), data.tokenizer_path()}));
  const nn::ModuleOptions module_options = ModuleOptionsOf(options);
  PretrainOptions copy = options;
  const TrainingTask task{
      .config = config,
      .make = [&] { return std::make_shared<MaskedLmObjective>(nn::MakeTextModel(config, module_options)); },
      .initialize = [&](nn::TextModel& model) { return LoadInitialWeights(options, model); },
      .options = RecordedOptions(copy)};
  return Train(options, context, std::move(compute), std::move(data), task);
}

}  // namespace

Result<Compute> ComputeOf(const PretrainOptions& recipe, const PretrainContext& context) {
  return ChooseCompute(recipe.device, context.threads, recipe.bf16,
                       context.group != nullptr ? context.group->meeting().world() : World{});
}

Result<TrainingData> DataOf(const PretrainOptions& recipe, const Compute& compute) {
  return TrainingData::Open(recipe.data, {.length = recipe.length,
                                          .mask_share = recipe.mask_share,
                                          .seed = recipe.seed,
                                          .sequences = recipe.MicroBatch(),
                                          .pinned = compute.device.is_cuda(),
                                          .rank = compute.rank,
                                          .processes = compute.processes});
}

Result<PretrainSummary> Train(const PretrainOptions& recipe, const PretrainContext& context, Compute compute,
                              TrainingData data, const TrainingTask& task) {
  std::optional<RunLog> log;
  Status ready = Ok{};
  if (context.group != nullptr) {
    GROVE_RETURN_IF_ERROR(CheckSameJob(recipe, *context.group, data, task));
    GROVE_RETURN_IF_ERROR(context.group->Connect(compute.device));
  }
  if (compute.rank == 0 && !context.dry_run) ready = OpenOutput(recipe, context, &log);
  if (context.group != nullptr) ready = context.group->meeting().Agree(ready);
  GROVE_RETURN_IF_ERROR(ready);
  GROVE_ASSIGN_OR_RETURN(RunParts parts, MakeParts(recipe, context, task, std::move(compute), std::move(data)));
  TrainingRun run(recipe, context, task, std::move(parts), std::move(log));
  return context.dry_run ? run.TryOut() : run.Execute();
}

Result<PretrainSummary> WithoutExceptions(const std::function<Result<PretrainSummary>()>& run) {
  try {
    return run();
  } catch (const c10::Error& error) {  // out of GPU memory, no such device: LibTorch throws
    const std::string text = error.what_without_backtrace();
    return Error(ErrorCode::kUnsupported, "LibTorch: " + text.substr(0, text.find('\n')));
  }
}

Result<PretrainSummary> RunJob(const PretrainContext& context,
                               const std::function<Result<PretrainSummary>(const PretrainContext&)>& run) {
  if (!context.world.launched) return WithoutExceptions([&] { return run(context); });
  GROVE_ASSIGN_OR_RETURN(const auto group, ProcessGroup::Join(context.world, context.on_lost));
  PretrainContext own = context;
  own.group = group.get();
  if (group->rank() > 0) own.observer = nullptr;
  const auto with_group = [&]() -> Result<PretrainSummary> {
    try {
      return run(own);
    } catch (const std::exception& error) {  // a process that is gone, or anything of our own
      const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
      const std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
      return Error(ErrorCode::kUnsupported, group->meeting().Explain("LibTorch: " + text.substr(0, text.find('\n'))));
    }
  };
  Result<PretrainSummary> result = with_group();
  if (!result.ok()) {
    group->meeting().EndWith(result.error().message());
    return result;
  }
  // Nobody leaves before rank 0 has written everything.
  GROVE_RETURN_IF_ERROR(group->meeting().Agree(Ok{}));
  return result;
}

Result<PretrainSummary> Pretrain(const PretrainOptions& options, const PretrainContext& context) {
  return RunJob(context, [&](const PretrainContext& own) { return PretrainChecked(options, own); });
}

}  // namespace grove::train
