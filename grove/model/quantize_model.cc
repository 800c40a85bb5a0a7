// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/quantize_model.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "grove/data/packed_text.h"
#include "grove/io/files.h"
#include "grove/io/json.h"
#include "grove/io/model_directory.h"
#include "grove/io/parameters.h"
#include "grove/model/model.h"
#include "grove/quant/round_weights.h"

namespace grove {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kReportFile = "quantization.json";

// A model's parameters, and a note of what is read, and of what of it in a low precision.
class NotedParameters final : public ParameterSource {
 public:
  explicit NotedParameters(const ModelDirectory& model) : file_(model.weights, model.config) {}

  bool Has(const std::string& name) const override { return file_.Has(name); }
  Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const override {
    read_.insert(file_.StoredName(name));
    return file_.Read(name, shape);
  }
  Result<Weights> ReadWeights(const std::string& name, const WeightsLayout& layout,
                              Precision precision) const override {
    read_.insert(file_.StoredName(name));
    if (precision != Precision::kFp32) matrices_.insert({file_.StoredName(name), layout});
    return file_.ReadWeights(name, layout, precision);
  }

  // By the names that the file has.
  const std::map<std::string, WeightsLayout>& matrices() const { return matrices_; }
  bool WasRead(const std::string& stored) const { return read_.contains(stored); }

 private:
  FileParameters file_;
  mutable std::map<std::string, WeightsLayout> matrices_;
  mutable std::set<std::string> read_;
};

// Filled beside its place and moved there whole.
class NewFolder {
 public:
  explicit NewFolder(std::string path)
      : path_(std::move(path)), temporary_(path_ + ".tmp-" + std::to_string(getpid())) {}
  ~NewFolder() {
    if (!moved_) static_cast<void>(RemoveFolder(temporary_));
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  const std::string& temporary() const { return temporary_; }

  Status Create() {
    GROVE_RETURN_IF_ERROR(RemoveFolder(temporary_));
    std::error_code error;
    fs::create_directories(temporary_, error);
    return error ? Failed("make", temporary_, error) : Status(Ok{});
  }

  // Replaces what is there.
  Status Move() {
    std::error_code error;
    const std::string old = temporary_ + "-old";
    if (fs::exists(path_, error)) fs::rename(path_, old, error);
    if (error) return Failed("replace", path_, error);
    fs::rename(temporary_, path_, error);
    if (error) {
      std::error_code back;
      fs::rename(old, path_, back);
      return Failed("move the model to", path_, error);
    }
    moved_ = true;
    return RemoveFolder(old);
  }

 private:
  static Error Failed(const std::string& action, const std::string& path, const std::error_code& error) {
    return Error(ErrorCode::kIo, "cannot " + action + " " + path + ": " + error.message());
  }

  std::string path_, temporary_;
  bool moved_ = false;
};

std::string WithoutSlashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

Status CheckOutput(const QuantizeOptions& options, const std::string& output) {
  std::error_code error;
  if (!fs::exists(output, error)) return Ok{};
  if (fs::equivalent(options.model, output, error)) {
    return Error(ErrorCode::kInvalidArgument, output + " is the model itself; name another --output");
  }
  const bool folder = fs::is_directory(output, error);
  if (folder && fs::is_empty(output, error)) return Ok{};
  if (!options.overwrite) {
    return Error(ErrorCode::kInvalidArgument,
                 output + " is there already; pass --overwrite to replace it or name another --output");
  }
  if (folder && fs::exists(output + "/config.json", error)) return Ok{};
  return Error(ErrorCode::kInvalidArgument, output + " is no model folder; name another --output");
}

Status CheckModel(const ModelDirectory& model) {
  const Precision is = model.config.weight_precision;
  if (is == Precision::kFp32) return Ok{};
  return Error(ErrorCode::kInvalidArgument, model.path + " is quantized to " + std::string(PrecisionName(is)) +
                                                " already; quantize the model that it was made of");
}

// A second copy of the word embedding, which no reader needs.
bool IsTiedCopy(const std::string& name) {
  return name == "cls.predictions.decoder.weight" || name == "vocab_projector.weight";
}

struct NewTensors {
  TensorMap tensors;
  std::map<std::string, Weights> memory;  // of the rounded ones
  uint64_t bytes = 0;
};

Status AddRounded(const SafetensorsFile& file, const std::string& name, const WeightsLayout& layout,
                  Precision precision, NewTensors& to) {
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> values, file.ReadFloats(name, layout.shape));
  for (const float value : values.span()) {
    if (std::isfinite(value)) continue;
    return Error(ErrorCode::kCorrupt, file.path() + ": tensor \"" + name + "\" has the value " + std::to_string(value) +
                                          "; a model with such weights cannot be quantized");
  }
  const Weights& rounded = to.memory[name] = RoundWeights(values.data(), layout.view(), precision);
  if (precision == Precision::kBf16) {
    to.tensors[name] = ViewOf(rounded.bf16.span(), layout.shape);
    return Ok{};
  }
  const std::string scales = name + kScaleSuffix;
  if (file.Has(scales)) {
    return Error(ErrorCode::kInvalidArgument, file.path() + " has a tensor \"" + scales +
                                                  "\" already, where the scales of \"" + name + "\" would stand");
  }
  to.tensors[name] = ViewOf(rounded.int8.span(), layout.shape);
  to.tensors[scales] = ViewOf(rounded.scales.span(), layout.scales());
  return Ok{};
}

Result<NewTensors> RoundTensors(const ModelDirectory& model, const NotedParameters& notes,
                                const QuantizeOptions& options, const QuantizeProgress& progress) {
  NewTensors made;
  size_t number = 0;
  for (const auto& [name, view] : model.weights.tensors()) {
    const double share = static_cast<double>(number++) / static_cast<double>(model.weights.tensors().size());
    if (!progress(0.1 + 0.1 * share, "rounding " + name)) {
      return Error(ErrorCode::kInvalidArgument, "stopped before the model was written");
    }
    const auto noted = notes.matrices().find(name);
    if (noted != notes.matrices().end()) {
      GROVE_RETURN_IF_ERROR(AddRounded(model.weights, name, noted->second, options.precision, made));
    } else if (!IsTiedCopy(name) || notes.WasRead(name)) {
      made.tensors[name] = view;
    }
  }
  for (const auto& [name, view] : made.tensors) made.bytes += view.bytes.size();
  return made;
}

Result<std::string> NewConfig(const ModelDirectory& model, Precision precision) {
  const std::string path = model.path + "/config.json";
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return Error(ErrorCode::kCorrupt, path + " is not a JSON object any more");
  config["weight_precision"] = PrecisionName(precision);
  if (precision == Precision::kBf16) {
    config["torch_dtype"] = "bfloat16";
  } else {
    // Other programs then refuse the model, where they would take the integers for weights.
    config["quantization_config"] = {{"quant_method", "grove"}, {"bits", 8}};
  }
  return config.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string MegabytesText(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

std::string CardSection(const QuantizeOptions& options, const QuantizeReport& report) {
  const bool int8 = options.precision == Precision::kInt8;
  const std::string source = fs::path(WithoutSlashes(options.model)).filename().string();
  return "\n## Quantized to " + std::string(PrecisionName(options.precision)) + "\n\nMade of " + source +
         " by `grove quantize --precision " + std::string(PrecisionName(options.precision)) +
         "`: " + std::to_string(report.matrices) + " matrices are " +
         (int8 ? "int8 with a scale for each output, inputs are rounded at run time" : "bf16") + "; " +
         MegabytesText(report.bytes_before) + " before, " + MegabytesText(report.bytes_after) +
         " now. What it cost is in `" + kReportFile + "`.\n";
}

// Tokenizer, labels, licence and what else is small text; no other form of the weights.
Status CopySmallFiles(const std::string& from, const fs::path& to) {
  constexpr uintmax_t kMost = 64u << 20;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(from, error)) {
    const std::string name = entry.path().filename().string(), kind = entry.path().extension().string();
    const bool text = kind == ".json" || kind == ".txt" || kind == ".md" || kind == ".model" ||
                      name.starts_with("LICENSE") || name.starts_with("NOTICE");
    const bool ours = name == "config.json" || name == kReportFile || name.ends_with(".index.json");
    if (!text || ours || !entry.is_regular_file(error) || entry.file_size(error) > kMost) continue;
    GROVE_ASSIGN_OR_RETURN(const std::string content, ReadTextFile(entry.path().string()));
    GROVE_RETURN_IF_ERROR(WriteTextFile((to / name).string(), content));
  }
  if (error) return Error(ErrorCode::kIo, "cannot list " + from + ": " + error.message());
  return Ok{};
}

Status WriteCard(const QuantizeOptions& options, const QuantizeReport& report, const std::string& folder) {
  std::error_code error;
  std::string card;
  if (fs::exists(options.model + "/README.md", error)) {
    GROVE_ASSIGN_OR_RETURN(card, ReadTextFile(options.model + "/README.md"));
  } else {
    card = "# " + fs::path(WithoutSlashes(options.output)).filename().string() + "\n";
  }
  return WriteTextFile(folder + "/README.md", card + CardSection(options, report));
}

// Layers whose kind reads no matrix in a low precision.
std::vector<KeptLayers> KeptInFp32(const ModelConfig& config) {
  std::vector<KeptLayers> kept;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const FeedForwardConfig& own = config.FeedForwardOf(layer);
    if (HasLowPrecision(own)) continue;
    const std::string name = DescribeFeedForward(own);
    const auto same = std::ranges::find(kept, name, &KeptLayers::feed_forward);
    if (same == kept.end()) {
      kept.push_back({name, {layer}});
    } else {
      same->layers.push_back(layer);
    }
  }
  return kept;
}

// The model's, or that of the packed text, or none.
Result<std::optional<Tokenizer>> TokenizerFor(const QuantizeOptions& options, const ModelDirectory& model) {
  std::string path = model.tokenizer_path;
  if (path.empty() && !options.text.data.empty()) {
    GROVE_ASSIGN_OR_RETURN(const PackedText packed, PackedText::Open(options.text.data));
    path = packed.tokenizer_path;
  }
  if (path.empty()) return std::optional<Tokenizer>();
  GROVE_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(path));
  if (tokenizer.vocabulary_size() > static_cast<size_t>(model.config.vocabulary)) {
    return Error(ErrorCode::kInvalidArgument,
                 path + " has " + std::to_string(tokenizer.vocabulary_size()) + " tokens and the model only " +
                     std::to_string(model.config.vocabulary) + "; use the tokenizer that belongs to the model");
  }
  return std::optional(std::move(tokenizer));
}

// Runs the model that was written beside the one it was made of.
Status Compare(const QuantizeOptions& options, const ModelDirectory& model, const std::string& folder, ThreadPool* pool,
               const QuantizeProgress& progress, QuantizeReport& report) {
  GROVE_ASSIGN_OR_RETURN(std::optional<Tokenizer> tokenizer, TokenizerFor(options, model));
  if (!tokenizer) {
    report.text = "not measured: the model has no tokenizer; give --data, text that was packed with one";
    return Ok{};
  }
  const LoadOptions fp32{.tokenizer = false, .encoder = {.precision = Precision::kFp32}};
  GROVE_ASSIGN_OR_RETURN(LoadedModel before, LoadModel(options.model, pool, fp32));
  before.tokenizer = std::move(tokenizer);
  GROVE_ASSIGN_OR_RETURN(const LoadedModel after, LoadModel(folder, pool, {.tokenizer = false}));
  HeldOutOptions wanted = options.text;
  wanted.length = std::min(wanted.length, static_cast<size_t>(before.config().max_length));
  if (wanted.length < 3) {
    report.text = "not measured: the model takes no text of three tokens";
    return Ok{};
  }
  GROVE_ASSIGN_OR_RETURN(const HeldOutText text, ReadHeldOut(wanted, *before.tokenizer));
  report.text = text.description;
  GROVE_ASSIGN_OR_RETURN(report.comparison, ComparePrecision(before, after, text.sequences, [&](double done) {
                           return progress(0.3 + 0.7 * done, "comparing with fp32");
                         }));
  return Ok{};
}

}  // namespace

Result<QuantizeReport> QuantizeModel(const QuantizeOptions& options, ThreadPool* pool,
                                     const QuantizeProgress& progress) {
  const std::string output = WithoutSlashes(options.output);
  GROVE_RETURN_IF_ERROR(CheckOutput(options, output));
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory model, ModelDirectory::Open(options.model));
  GROVE_RETURN_IF_ERROR(CheckModel(model));
  progress(0, "reading " + options.model);
  const NotedParameters notes(model);
  // Any machine runs int8, and what is read in a low precision does not depend on which.
  GROVE_RETURN_IF_ERROR(LoadParameters(model, notes, pool, {.precision = Precision::kInt8}));
  GROVE_ASSIGN_OR_RETURN(const NewTensors made, RoundTensors(model, notes, options, progress));
  QuantizeReport report{
      .matrices = notes.matrices().size(), .tensors = made.tensors.size(), .text = "", .comparison = {}};
  report.layers = static_cast<size_t>(model.config.layers);
  report.kept = KeptInFp32(model.config);
  for (const auto& [name, view] : model.weights.tensors()) report.bytes_before += view.bytes.size();
  report.bytes_after = made.bytes;
  NewFolder folder(output);
  GROVE_RETURN_IF_ERROR(folder.Create());
  const std::string& to = folder.temporary();
  progress(0.2, "writing " + output);
  GROVE_RETURN_IF_ERROR(CopySmallFiles(model.path, to));
  GROVE_RETURN_IF_ERROR(WriteCard(options, report, to));
  GROVE_RETURN_IF_ERROR(WriteSafetensors(to + "/model.safetensors", made.tensors, {{"format", "pt"}}));
  GROVE_ASSIGN_OR_RETURN(const std::string config, NewConfig(model, options.precision));
  GROVE_RETURN_IF_ERROR(WriteTextFile(to + "/config.json", config));
  GROVE_RETURN_IF_ERROR(Compare(options, model, to, pool, progress, report));
  GROVE_RETURN_IF_ERROR(WriteTextFile(to + "/" + kReportFile, QuantizeReportJson(options, report)));
  GROVE_RETURN_IF_ERROR(folder.Move());
  return report;
}

std::string QuantizeReportJson(const QuantizeOptions& options, const QuantizeReport& report) {
  const PrecisionComparison& compared = report.comparison;
  Json json = {{"model", options.model},
               {"precision", PrecisionName(options.precision)},
               {"matrices", report.matrices},
               {"tensors", report.tensors},
               {"bytes_before", report.bytes_before},
               {"bytes_after", report.bytes_after},
               {"kept_fp32", Json::array()},
               {"text", report.text},
               {"sequences", compared.sequences},
               {"tokens", compared.tokens}};
  for (const KeptLayers& kept : report.kept) {
    json["kept_fp32"].push_back({{"feed_forward", kept.feed_forward}, {"layers", kept.layers}});
  }
  if (compared.sequences == 0) return json.dump(1) + "\n";
  json["hidden_error"] = compared.hidden_error;
  json["answers"] = compared.answers;
  if (compared.same_answer) json["same_answer"] = *compared.same_answer;
  if (compared.answer_error) json["answer_error"] = *compared.answer_error;
  if (compared.loss) {
    json["loss"] = {{"fp32", compared.loss->fp32},
                    {"rounded", compared.loss->rounded},
                    {"relative_change", compared.loss->relative()}};
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace grove
