// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "grove/data/pack_text.h"
#include "grove/io/bert_config.h"
#include "grove/io/files.h"
#include "grove/io/json.h"
#include "grove/nn/parameters.h"
#include "grove/train/compare_models.h"
#include "grove/train/convert_layer.h"
#include "grove/train/distillation.h"
#include "grove/train/opened_model.h"
#include "grove/train/train_loop.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int64_t kErrorTokens = 2048;  // held-out tokens on which layers are judged

// The inputs of every feedforward layer on real text, [tokens, width] on the CPU, padding left out.
std::vector<torch::Tensor> LayerInputs(nn::TextModel& model, HeadKind head, const torch::Device& device, bool bf16,
                                       int64_t tokens, const std::function<std::optional<Batch>(int64_t)>& batch_at) {
  const torch::NoGradGuard no_grad;
  std::vector<std::vector<torch::Tensor>> pieces(model.FeedForwards().size());
  int64_t seen = 0;
  for (int64_t number = 0; seen < tokens; ++number) {
    const std::optional<Batch> next = batch_at(number);
    if (!next) break;
    const Batch batch = AsReadBy(head, next->To(device));
    nn::ForwardTrace trace;
    {
      const nn::AutocastScope autocast(bf16);
      model.Encode(InputOf(batch), &trace);
    }
    torch::Tensor rows = torch::arange(batch.ids.numel(), torch::TensorOptions(torch::kLong).device(device));
    if (batch.attention_mask.defined()) rows = torch::nonzero(batch.attention_mask.flatten()).flatten();
    for (size_t i = 0; i < trace.feed_forward_in.size(); ++i) {
      pieces[i].push_back(trace.feed_forward_in[i].index_select(0, rows).to(torch::kCPU, torch::kFloat));
    }
    seen += rows.size(0);
  }
  std::vector<torch::Tensor> inputs;
  for (const auto& of_layer : pieces) {
    const torch::Tensor all = torch::cat(of_layer);
    inputs.push_back(all.narrow(0, 0, std::min(all.size(0), tokens)).contiguous());
  }
  return inputs;
}

// Nearly even gates hardly depend on the decisions: their gradient is mostly noise, which Adam's steps of one size
// would turn into a random walk away from what was learnt.
void FreezeDecisions(nn::TextModel& model) {
  for (const auto& layer : model.FeedForwards()) {
    auto parameters = layer->named_parameters();
    parameters["node_weights"].set_requires_grad(false);
    parameters["node_biases"].set_requires_grad(false);
  }
}

class Conversion {
 public:
  Conversion(const ConvertOptions& options, const PretrainContext& context, Compute compute, OpenedModel original,
             TrainingData data)
      : options_(options),
        context_(context),
        compute_(std::move(compute)),
        original_(std::move(original)),
        data_(std::move(data)) {}

  Status Prepare();
  void ConvertLayers();
  Result<bool> Heal();  // false: stopped
  Result<std::string> Finish();

 private:
  HeadKind head() const { return config_.head.kind; }
  void Notice(const std::string& sentence) const {
    if (context_.observer != nullptr) context_.observer->Notice(sentence);
  }
  std::vector<Batch> ValidationBatches() const;
  std::vector<double> LayerErrors(nn::TextModel& model) const;
  PretrainOptions Recipe() const;
  Status Save(const nn::TextModel& model) const;
  Status CopyBesides() const;

  const ConvertOptions& options_;
  const PretrainContext& context_;
  Compute compute_;
  OpenedModel original_;
  TrainingData data_;
  ModelConfig config_;  // of the converted model
  LayerConversion layer_;
  std::vector<DenseLayer> dense_;
  std::vector<torch::Tensor> held_out_;  // layer inputs of the original on held-out text
  std::shared_ptr<nn::TextModel> tree_;  // on the device
  Json report_;
};

Status Conversion::Prepare() {
  const ModelConfig& from = original_.directory.config;
  for (const auto& layer : original_.model->FeedForwards()) {
    if (!layer) return Error(ErrorCode::kUnsupported, options_.model + " has no feedforward layers to convert");
    Result<DenseLayer> dense = DenseLayerOf(*layer, from.feed_forward);
    if (!dense.ok()) return Error(ErrorCode::kUnsupported, options_.model + ": " + dense.error().message());
    dense_.push_back(std::move(dense).value());
  }
  const int64_t neurons = from.feed_forward.intermediate, leaves = options_.leaves;
  layer_ = {.depth = std::countr_zero(static_cast<uint64_t>(leaves)),
            .leaf_width = options_.leaf_width == 0 ? (neurons + leaves - 1) / leaves : options_.leaf_width,
            .paths = options_.paths == 0 ? std::max<int64_t>(leaves / 4, 1) : options_.paths,
            .grouping = options_.grouping,
            .routing = options_.routing,
            .seed = options_.seed};
  if (leaves > neurons) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("--leaves is {} and a layer has {} neurons; take fewer leaves", leaves, neurons));
  }
  if (layer_.leaf_width * leaves < neurons) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} leaves of {} hold {} neurons and a layer has {}; take more or wider leaves", leaves,
                             layer_.leaf_width, layer_.leaf_width * leaves, neurons));
  }
  config_ = from;
  config_.feed_forward = {.kind = FeedForwardKind::kLeafTree,
                          .nonlinearity = from.feed_forward.nonlinearity,
                          .depth = layer_.depth,
                          .leaf_width = layer_.leaf_width,
                          .paths = layer_.paths};
  return Ok{};
}

std::vector<Batch> Conversion::ValidationBatches() const {
  std::vector<Batch> batches;
  for (const Batch& batch : data_.ValidationBatches(options_.validation_sequences)) {
    batches.push_back(batch.To(compute_.device));
  }
  return batches;
}

// Of each tree against the dense layer it replaces, on the same inputs.
std::vector<double> Conversion::LayerErrors(nn::TextModel& model) const {
  model.eval();
  std::vector<double> errors;
  const auto layers = model.FeedForwards();
  for (size_t i = 0; i < layers.size(); ++i) {
    const torch::Tensor y = dense_[i].Forward(held_out_[i]);
    errors.push_back(RelativeError(*layers[i], held_out_[i].to(compute_.device), y.to(compute_.device)));
  }
  return errors;
}

void Conversion::ConvertLayers() {
  nn::TextModel& original = *original_.model;
  const auto validation = data_.ValidationBatches(options_.validation_sequences);
  held_out_ = LayerInputs(original, head(), compute_.device, compute_.bf16, kErrorTokens,
                          [&](int64_t i) -> std::optional<Batch> {
                            if (i >= static_cast<int64_t>(validation.size())) return {};
                            return validation[static_cast<size_t>(i)];
                          });
  const std::vector<torch::Tensor> sample =
      LayerInputs(original, head(), compute_.device, compute_.bf16, options_.sample_tokens,
                  [&](int64_t i) { return std::optional<Batch>(data_.TrainBatch(i)); });
  std::vector<LeafTreeLayer> values;
  Json layers = Json::array();
  for (size_t i = 0; i < dense_.size(); ++i) {
    values.push_back(ConvertLayer(dense_[i], sample[i], layer_));
    layers.push_back({{"mass_reached", values[i].mass}, {"gate_factor", values[i].gate_factor}});
    Notice(fmt::format("layer {} of {}: {:.1f} % of the activation mass in {} of {} leaves", i + 1, dense_.size(),
                       100 * values[i].mass, layer_.paths, options_.leaves));
  }
  config_.feed_forward.decision_scale = DecisionScale(values);
  // Everything that is no feedforward layer as it was.
  const auto tree = nn::MakeTextModel(config_, nn::ModuleOptions{});
  {
    const torch::NoGradGuard no_grad;
    const auto from = original.named_parameters();
    for (auto& item : tree->named_parameters()) {
      const torch::Tensor* value = from.find(item.key());
      if (value != nullptr) item.value().copy_(*value);
    }
  }
  for (size_t i = 0; i < values.size(); ++i) {
    FillLeafTree(values[i], config_.feed_forward.decision_scale, *tree->FeedForwards()[i]);
  }
  tree->to(compute_.device);
  tree_ = tree;
  const std::vector<double> errors = LayerErrors(*tree_);
  for (size_t i = 0; i < errors.size(); ++i) layers[i]["error_converted"] = errors[i];
  report_["model"] = options_.model;
  report_["feed_forward"] = DescribeFeedForward(config_.feed_forward);
  report_["was"] = DescribeFeedForward(original_.directory.config.feed_forward);
  report_["layers"] = layers;
  report_["converted"] = ComparisonJson(CompareModels(original, *tree_, head(), ValidationBatches(), compute_.bf16));
}

// The recipe of healing, in the words of pretraining.
PretrainOptions Conversion::Recipe() const {
  PretrainOptions recipe;
  recipe.output = options_.output;
  recipe.data = options_.data;
  recipe.length = options_.length;
  recipe.steps = options_.heal_steps;
  recipe.batch = options_.batch;
  recipe.micro_batch = options_.micro_batch;
  recipe.learning_rate = options_.learning_rate;
  recipe.mask_share = options_.mask_share;
  recipe.weight_decay = 0;  // healing stays near where it began
  recipe.balance = options_.balance;
  recipe.seed = options_.seed;
  recipe.device = options_.device;
  recipe.bf16 = options_.bf16;
  recipe.log_every = options_.log_every;
  recipe.validate_every = recipe.checkpoint_every = 0;
  recipe.validation_sequences = options_.validation_sequences;
  recipe.save_dtype = options_.save_dtype;
  recipe.tensorboard = false;
  return recipe;
}

Result<bool> Conversion::Heal() {
  if (options_.heal_steps == 0) return true;
  const DistillationOptions weights{.masked_lm = options_.masked_lm_weight,
                                    .logits = options_.logits_weight,
                                    .hidden = options_.hidden_weight,
                                    .layers = options_.layer_weight,
                                    .temperature = options_.temperature};
  const ModelConfig training = WithDropout(config_, 0);
  const nn::ModuleOptions module_options{.balance = options_.balance};
  std::shared_ptr<nn::TextModel> healed;  // the first replica's, which the optimizer updates
  ConvertOptions copy = options_;
  const TrainingTask task{.config = config_,
                          .make = [&]() -> std::shared_ptr<Objective> {
                            const auto student = CopyModel(*tree_, training, module_options);
                            if (!options_.heal_decisions) FreezeDecisions(*student);
                            if (!healed) healed = student;
                            return std::make_shared<Distillation>(
                                TeacherAndStudent{original_.model, original_.directory.config, student, training},
                                weights);
                          },
                          .options = ConvertOptionList(copy)};
  const PretrainOptions recipe = Recipe();
  GROVE_ASSIGN_OR_RETURN(TrainingData data, DataOf(recipe, compute_));
  PretrainContext context = context_;
  context.resume = false;
  context.overwrite = true;  // Convert() has looked whether it may
  GROVE_ASSIGN_OR_RETURN(const PretrainSummary summary, Train(recipe, context, compute_, std::move(data), task));
  if (!summary.finished) return false;
  GROVE_RETURN_IF_ERROR(RemoveFolder(options_.output + "/checkpoints"));
  tree_ = healed;
  const std::vector<double> errors = LayerErrors(*tree_);
  for (size_t i = 0; i < errors.size(); ++i) report_["layers"][i]["error_healed"] = errors[i];
  report_["healed"] =
      ComparisonJson(CompareModels(*original_.model, *tree_, head(), ValidationBatches(), compute_.bf16));
  return true;
}

// Weights, config.json with whatever else the original's said, tokenizer.
Status Conversion::Save(const nn::TextModel& model) const {
  GROVE_RETURN_IF_ERROR(nn::SaveModel(model, config_, options_.output, {.bf16 = options_.save_dtype == "bf16"}));
  if (!config_.crammed()) {
    const std::string path = original_.directory.path + "/config.json";
    GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
    GROVE_ASSIGN_OR_RETURN(const nlohmann::json before, ParseJson(text, path));
    GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/config.json", BertConfigJson(config_, before)));
  }
  return CopyBesides();
}

Status Conversion::CopyBesides() const {
  for (const char* name : {"tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"}) {
    const std::string from = original_.directory.path + "/" + name;
    std::error_code error;
    if (!fs::is_regular_file(from, error)) continue;
    GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(from));
    GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/" + name, text));
  }
  if (!original_.directory.tokenizer_path.empty()) return Ok{};
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(data_.tokenizer_path()));
  return WriteTextFile(options_.output + "/tokenizer.json", text);
}

Result<std::string> Conversion::Finish() {
  ConvertOptions copy = options_;
  report_["device"] = compute_.name;
  report_["options"] = OptionsJson(ConvertOptionList(copy));
  GROVE_RETURN_IF_ERROR(Save(*tree_));
  GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/conversion.json", report_.dump(1) + "\n"));
  return report_.dump();
}

// Leaves nothing of --text's packed form behind, however a conversion ends.
class PackedForAWhile {
 public:
  ~PackedForAWhile() {
    if (!folder_.empty()) (void)RemoveFolder(folder_);  // a destructor has nobody to tell
  }
  Status Pack(const ConvertOptions& options, const OpenedModel& model, size_t threads) {
    if (model.directory.tokenizer_path.empty()) {
      return Error(ErrorCode::kNotFound, options.model +
                                             " has neither tokenizer.json nor vocab.txt; pack the text with "
                                             "`grove-train data` and name the folder by --data");
    }
    folder_ = options.output + "/packed";
    GROVE_ASSIGN_OR_RETURN(const PackReport report, PackText({.texts = {options.text},
                                                              .valid_fraction = 0.05,
                                                              .tokenizer = model.directory.tokenizer_path,
                                                              .output = folder_,
                                                              .threads = threads},
                                                             {}));
    if (report.train_tokens > 0 && report.valid_tokens > 0) return Ok{};
    return Error(ErrorCode::kInvalidArgument,
                 options.text +
                     " holds too little text: a twentieth of its documents is held out, and a blank line "
                     "ends a document; give more, or pack it with `grove-train data`");
  }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};

// The model that --overwrite replaces stays there until everything has been checked.
Status MakeFolder(const ConvertOptions& options, bool overwrite) {
  std::error_code error;
  if (fs::exists(options.output + "/config.json", error) && !overwrite) {
    return Error(ErrorCode::kInvalidArgument,
                 options.output + " holds a model already; pass --overwrite or name another --output");
  }
  GROVE_RETURN_IF_ERROR(CheckKeepsInput(options.output, options.model, "--model"));
  fs::create_directories(options.output, error);
  if (error) return Error(ErrorCode::kIo, "cannot create " + options.output + ": " + error.message());
  return Ok{};
}

void RemoveOldModel(const ConvertOptions& options) {
  std::error_code ignored;
  for (const char* name : {"config.json", "model.safetensors", "conversion.json"}) {
    fs::remove(options.output + "/" + name, ignored);
  }
}

Result<ConvertSummary> ConvertChecked(ConvertOptions options, const PretrainContext& context) {
  GROVE_RETURN_IF_ERROR(CheckConvertOptions(options));
  GROVE_ASSIGN_OR_RETURN(Compute compute, ChooseCompute(options.device, context.threads, options.bf16));
  GROVE_ASSIGN_OR_RETURN(OpenedModel original, OpenTextModel(options.model, compute.device));
  if (options.length == 0) options.length = std::min<int64_t>(128, original.directory.config.max_length);
  GROVE_RETURN_IF_ERROR(MakeFolder(options, context.overwrite));
  PackedForAWhile packed;
  if (!options.text.empty()) {
    GROVE_RETURN_IF_ERROR(packed.Pack(options, original, context.threads));
    options.data = packed.folder();
  }
  GROVE_ASSIGN_OR_RETURN(TrainingData data,
                         TrainingData::Open(options.data, {.length = options.length,
                                                           .mask_share = options.mask_share,
                                                           .seed = options.seed,
                                                           .sequences = std::min<int64_t>(options.batch, 32)}));
  GROVE_RETURN_IF_ERROR(CheckFits(original.directory, data, options.length));
  Conversion conversion(options, context, std::move(compute), std::move(original), std::move(data));
  GROVE_RETURN_IF_ERROR(conversion.Prepare());
  RemoveOldModel(options);
  conversion.ConvertLayers();
  GROVE_ASSIGN_OR_RETURN(const bool finished, conversion.Heal());
  if (!finished) return ConvertSummary{};
  GROVE_ASSIGN_OR_RETURN(std::string report, conversion.Finish());
  return ConvertSummary{true, std::move(report)};
}

}  // namespace

Result<ConvertSummary> Convert(const ConvertOptions& options, const PretrainContext& context) {
  std::optional<Result<ConvertSummary>> result;
  const auto run = [&]() -> Result<PretrainSummary> {
    result = ConvertChecked(options, context);
    return PretrainSummary{};
  };
  const Result<PretrainSummary> thrown = WithoutExceptions(run);
  if (!thrown.ok()) return thrown.error();
  return *std::move(result);
}

}  // namespace grove::train
