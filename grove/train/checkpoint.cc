// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>

#include "grove/io/safetensors.h"
#include "grove/nn/parameters.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "checkpoint-";
constexpr char kSuffix[] = ".safetensors";

std::string PathOf(const std::string& folder, int64_t step) {
  return fmt::format("{}/{}{:09}{}", folder, kPrefix, step, kSuffix);  // padded: names sort as steps do
}

// Newest first. What a killed writer left behind (checkpoint-...tmp-...) is not among them.
std::vector<std::string> Checkpoints(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) paths.push_back(entry.path().string());
  }
  std::sort(paths.rbegin(), paths.rend());
  return paths;
}

// Only a killed run leaves temporary files; the log's lock keeps a second run out of the folder.
void RemoveOld(const std::string& folder, int64_t keep) {
  std::error_code error;
  const std::vector<std::string> paths = Checkpoints(folder);
  for (size_t i = static_cast<size_t>(keep); i < paths.size(); ++i) fs::remove(paths[i], error);
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().find(".tmp-") != std::string::npos) fs::remove(entry.path(), error);
  }
}

// Every tensor of the run's state by its name in the file. The values share memory with the run.
std::map<std::string, torch::Tensor> StateTensors(const torch::nn::Module& model, const AdamW& optimizer) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& item : model.named_parameters()) tensors["parameter." + item.key()] = item.value().detach();
  for (const auto& [name, buffer] : nn::StoredBuffers(model)) tensors["buffer." + name] = buffer;
  for (const auto& [name, moments] : optimizer.moments()) {
    tensors["moment1." + name] = moments.first;
    tensors["moment2." + name] = moments.second;
  }
  for (const auto& [name, tensor] : optimizer.unit_state()) tensors[name] = tensor;
  return tensors;
}

template <class T>
std::string NumberText(T value) {
  return fmt::format("{}", value);  // the shortest text that reads back as the same number
}

template <class T>
bool ReadNumber(const Metadata& metadata, const char* key, T* value) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return false;
  const char* end = found->second.data() + found->second.size();
  return std::from_chars(found->second.data(), end, *value).ptr == end;
}

Error Damaged(const std::string& path, const std::string& what) {
  return Error(ErrorCode::kCorrupt, fmt::format("{} is damaged ({}); delete it", path, what));
}

// Verifies everything before the first parameter is touched.
Result<CheckpointState> Load(const std::string& path, const torch::nn::Module& model, AdamW& optimizer) {
  GROVE_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  const Metadata& metadata = file.metadata();
  // Open() has compared the checksum that every file of ours carries; a flipped bit must not hide it either.
  if (!metadata.contains("grove.checksum")) return Damaged(path, "its checksum is missing");
  CheckpointState state;
  Progress& progress = state.progress;
  const bool complete =
      ReadNumber(metadata, "step", &progress.step) && ReadNumber(metadata, "tokens", &progress.tokens) &&
      ReadNumber(metadata, "sequences", &progress.sequences) && ReadNumber(metadata, "seconds", &progress.seconds) &&
      ReadNumber(metadata, "log_bytes", &state.log_bytes) && ReadNumber(metadata, "loss_sum", &state.loss_sum) &&
      ReadNumber(metadata, "loss_steps", &state.loss_steps) && metadata.contains("options");
  if (!complete) return Damaged(path, "its metadata is incomplete");
  state.options = metadata.at("options");
  const auto tensors = StateTensors(model, optimizer);
  for (const auto& [name, tensor] : tensors) {
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end() || found->second.dtype != DType::kF32 ||
        found->second.shape != tensor.sizes().vec()) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("{} is of another model ({} is missing or has another shape); choose another --output",
                               path, name));
    }
  }
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors) {
    const TensorView view = file.tensors().at(name);
    const torch::Tensor source = torch::empty(tensor.sizes(), torch::kFloat);
    if (!view.bytes.empty()) std::memcpy(source.data_ptr(), view.bytes.data(), view.bytes.size());
    tensor.copy_(source);
  }
  optimizer.set_steps(progress.step);
  return state;
}

}  // namespace

Status SaveCheckpoint(const std::string& folder, const torch::nn::Module& model, const AdamW& optimizer,
                      const CheckpointState& state, int64_t keep) {
  const auto tensors = StateTensors(model, optimizer);
  std::map<std::string, torch::Tensor> on_cpu;  // keeps the bytes of the views alive
  TensorMap views;
  for (const auto& [name, tensor] : tensors) {
    on_cpu[name] = tensor.to(torch::kCPU).contiguous();
    views[name] = nn::ViewOfTensor(on_cpu[name]);
  }
  const Progress& progress = state.progress;
  const Metadata metadata{{"step", NumberText(progress.step)},           {"tokens", NumberText(progress.tokens)},
                          {"sequences", NumberText(progress.sequences)}, {"seconds", NumberText(progress.seconds)},
                          {"log_bytes", NumberText(state.log_bytes)},    {"loss_sum", NumberText(state.loss_sum)},
                          {"loss_steps", NumberText(state.loss_steps)},  {"options", state.options}};
  GROVE_RETURN_IF_ERROR(WriteSafetensors(PathOf(folder, progress.step), views, metadata));
  RemoveOld(folder, keep);
  return Ok{};
}

Result<std::optional<CheckpointState>> LoadNewestCheckpoint(const std::string& folder, const torch::nn::Module& model,
                                                            AdamW& optimizer, std::vector<std::string>* warnings) {
  const std::vector<std::string> paths = Checkpoints(folder);
  for (const std::string& path : paths) {
    Result<CheckpointState> state = Load(path, model, optimizer);
    if (state.ok()) return std::optional<CheckpointState>(std::move(state).value());
    if (state.error().code() == ErrorCode::kInvalidArgument) return state.error();
    warnings->push_back(state.error().message());
  }
  if (paths.empty()) return std::optional<CheckpointState>();
  return Error(ErrorCode::kCorrupt, folder + " holds no intact checkpoint; start the run again without --resume");
}

}  // namespace grove::train
