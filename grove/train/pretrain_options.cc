// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/pretrain_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "grove/base/check.h"
#include "grove/io/files.h"
#include "grove/io/json.h"

namespace grove::train {
namespace {

using Json = nlohmann::ordered_json;
using O = PretrainOptions;

constexpr double kMany = 1e15;

const OptionField kFields[] = {
    {"about", &O::about, "What this configuration is for", 0, 0, "", true},
    {"data", &O::data, "Folder of packed text, made by `grove-train data`", 0, 0, "", true},
    {"output", &O::output, "Folder for the model, the log and the checkpoints", 0, 0, "", true},

    {"layers", &O::layers, "Encoder blocks", 1, 1000},
    {"width", &O::width, "Length of a token's hidden vector", 1, 65536},
    {"heads", &O::heads, "Attention heads; divide the width", 1, 1024},
    {"length", &O::length, "Tokens of a training sequence, [CLS] and [SEP] among them", 3, 65536},
    {"positions", &O::positions, "How positions enter", 0, 0, "scaled-sinusoidal sinusoidal learned"},
    {"feed_forward", &O::feed_forward, "Kind of feedforward layer", 0, 0, "leaf_tree neuron_tree dense none"},
    {"nonlinearity", &O::nonlinearity, "Of a neuron; gelu_glu for dense only", 0, 0, "gelu relu gelu_glu"},
    {"intermediate", &O::intermediate, "dense: stored neurons", 1, 1 << 24},
    {"trees", &O::trees, "neuron_tree: trees side by side", 1, 1 << 20},
    {"depth", &O::depth, "trees of both kinds: decisions on a path", 0, 24},
    {"two_sided", &O::two_sided, "neuron_tree: left turns have output weights too"},
    {"leaf_width", &O::leaf_width, "leaf_tree: neurons of a leaf", 1, 1 << 20},
    {"paths", &O::paths, "leaf_tree: leaves a token visits", 1, 1 << 20},
    {"decision_scale", &O::decision_scale, "leaf_tree: P(right) = sigmoid(scale x logit)", 1e-6, 1e6},
    {"init_std", &O::init_std, "Standard deviation of the initial weights", 0, 10},
    {"decoder_bias", &O::decoder_bias, "A bias for every word of the vocabulary"},

    {"minutes", &O::minutes, "Budget: wall-clock minutes", 0, kMany, "", true},
    {"steps", &O::steps, "Budget: optimizer steps", 0, kMany, "", true},
    {"tokens", &O::tokens, "Budget: training tokens", 0, kMany, "", true},
    {"batch", &O::batch, "Sequences of one optimizer step", 1, 1 << 24},
    {"micro_batch", &O::micro_batch, "Sequences of one forward pass; 0: the whole batch", 0, 1 << 24},
    {"batch_ramp", &O::batch_ramp, "Share of the budget over which the batch grows to its full size", 0, 1},
    {"learning_rate", &O::learning_rate, "Peak rate of AdamW", 0, 10},
    {"beta1", &O::beta1, "AdamW: decay of the mean gradient", 0, 1},
    {"beta2", &O::beta2, "AdamW: decay of the mean squared gradient", 0, 1},
    {"epsilon", &O::epsilon, "AdamW: added to the denominator", 0, 1},
    {"weight_decay", &O::weight_decay, "AdamW: not on biases and norms", 0, 10},
    {"clip", &O::clip, "Largest norm of the gradient", 1e-9, 1e9},
    {"mask_share", &O::mask_share, "Share of tokens to predict (80/10/10 masked, random, kept)", 0.01, 0.9},
    {"balance", &O::balance, "leaf_tree: weight of the balance loss", 0, 100},
    {"hardening", &O::hardening, "leaf_tree: weight of the decisions' entropy", 0, 100},
    {"dropout", &O::dropout, "Probability of dropping a hidden value", 0, 0.9},
    {"seed", &O::seed, "Of initialization, order and masks", 0, 9e15},

    {"device", &O::device, "Where to compute", 0, 0, "auto cpu cuda", true},
    {"bf16", &O::bf16, "On a GPU: autocast to bf16", 0, 0, "", true},
    {"log_every", &O::log_every, "Steps between log lines", 1, kMany, "", true},
    {"validate_every", &O::validate_every, "Steps between validations; 0: only at the end", 0, kMany, "", true},
    {"validation_sequences", &O::validation_sequences, "Held-out sequences, at most", 1, kMany, "", true},
    {"checkpoint_every", &O::checkpoint_every, "Steps between checkpoints; 0: only at the end", 0, kMany, "", true},
    {"keep_checkpoints", &O::keep_checkpoints, "Newest checkpoints kept", 1, 1000, "", true},
    {"save_dtype", &O::save_dtype, "Number format of the saved model", 0, 0, "fp32 bf16", true},
    {"save_decoder", &O::save_decoder, "Store the tied output weights as well", 0, 0, "", true},
};

const OptionField* FindField(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kFields), std::end(kFields), [&](const auto& f) { return f.name == name; });
  return found == std::end(kFields) ? nullptr : found;
}

bool IsChoice(std::string_view choices, std::string_view text) {
  if (choices.empty()) return true;
  return !text.empty() && text.find(' ') == std::string_view::npos &&
         fmt::format(" {} ", choices).find(fmt::format(" {} ", text)) != std::string::npos;
}

template <class T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// "1000000" and "1e6" are both whole.
bool ParseWhole(std::string_view text, int64_t* value) {
  if (ParseNumber(text, value)) return true;
  double number = 0;
  if (!ParseNumber(text, &number) || !(std::abs(number) <= 9e15)) return false;
  *value = static_cast<int64_t>(number);
  return static_cast<double>(*value) == number;
}

Error OutOfRange(const OptionField& field, std::string_view text, const std::string& where) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{} is {} and must be from {} to {}", where, text, field.low, field.high));
}

}  // namespace

std::span<const OptionField> PretrainFields() { return kFields; }

std::string FlagName(const OptionField& field) {
  std::string flag = std::string("--") + field.name;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::string OptionText(const PretrainOptions& options, const OptionField& field) {
  return std::visit([&](auto member) { return fmt::format("{}", options.*member); }, field.member);
}

Status SetOption(PretrainOptions& options, const OptionField& field, std::string_view text, const std::string& where) {
  const auto wrong = [&](const std::string& expected) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("{} is \"{}\" and must be {}", where, text, expected));
  };
  if (const auto* member = std::get_if<std::string O::*>(&field.member)) {
    if (!IsChoice(field.choices, text)) return wrong(fmt::format("one of: {}", field.choices));
    options.** member = std::string(text);
  } else if (const auto* flag = std::get_if<bool O::*>(&field.member)) {
    if (text != "true" && text != "false") return wrong("true or false");
    options.** flag = text == "true";
  } else if (const auto* whole = std::get_if<int64_t O::*>(&field.member)) {
    int64_t value = 0;
    if (!ParseWhole(text, &value)) return wrong("a whole number");
    const double number = static_cast<double>(value);
    if (number < field.low || number > field.high) return OutOfRange(field, text, where);
    options.** whole = value;
  } else {
    double value = 0;
    if (!ParseNumber(text, &value)) return wrong("a number");
    if (!(value >= field.low && value <= field.high)) return OutOfRange(field, text, where);
    options.*std::get<double O::*>(field.member) = value;
  }
  return Ok{};
}

Status ReadOptionsFile(const std::string& path, PretrainOptions& options) {
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  GROVE_ASSIGN_OR_RETURN(const nlohmann::json json, ParseJson(text, path));
  if (!json.is_object()) return Error(ErrorCode::kCorrupt, path + " is not a JSON object; write {\"layers\": 4, ...}");
  for (const auto& [key, value] : json.items()) {
    const OptionField* field = FindField(key);
    if (field == nullptr) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("{}: the key \"{}\" is no option; see grove-train pretrain --help", path, key));
    }
    const bool text_field = std::holds_alternative<std::string O::*>(field->member);
    if (text_field != value.is_string() || value.is_structured()) {
      return Error(ErrorCode::kInvalidArgument, fmt::format("{}: the value of \"{}\" must be {}", path, key,
                                                            text_field ? "a string" : "a number or true or false"));
    }
    GROVE_RETURN_IF_ERROR(SetOption(options, *field, text_field ? value.get<std::string>() : value.dump(),
                                    fmt::format("{}: \"{}\"", path, key)));
  }
  return Ok{};
}

Json OptionsJson(const PretrainOptions& options) {
  Json json;
  for (const OptionField& field : kFields) {
    std::visit([&](auto member) { json[field.name] = options.*member; }, field.member);
  }
  return json;
}

Status CheckOptions(const PretrainOptions& options) {
  const auto wrong = [](const char* text) { return Error(ErrorCode::kInvalidArgument, text); };
  if (options.data.empty()) return wrong("--data is missing; name the folder that `grove-train data` made");
  if (options.output.empty()) return wrong("--output is missing; name the folder for the model");
  const int budgets = (options.minutes > 0 ? 1 : 0) + (options.steps > 0 ? 1 : 0) + (options.tokens > 0 ? 1 : 0);
  if (budgets != 1) return wrong("exactly one budget must be given: --minutes, --steps or --tokens");
  if (options.batch % options.MicroBatch() != 0) return wrong("--batch must be a multiple of --micro-batch");
  if (options.width % options.heads != 0) return wrong("--width must be a multiple of --heads");
  return Ok{};
}

Status CheckSameRun(const PretrainOptions& options, const Json& recorded) {
  const Json now = OptionsJson(options);
  for (const OptionField& field : kFields) {
    if (field.may_change || !recorded.contains(field.name) || recorded[field.name] == now[field.name]) continue;
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} is {} but the run to resume has {}; give the same value or another --output",
                             FlagName(field), now[field.name].dump(), recorded[field.name].dump()));
  }
  return Ok{};
}

Result<ModelConfig> ModelConfigOf(const PretrainOptions& options, int64_t vocabulary, int64_t pad_id) {
  ModelConfig config;
  config.vocabulary = vocabulary;
  config.pad_id = pad_id;
  config.layers = options.layers;
  config.width = options.width;
  config.heads = options.heads;
  config.max_length = options.length;
  config.position = options.positions == "learned"      ? PositionKind::kLearned
                    : options.positions == "sinusoidal" ? PositionKind::kSinusoidal
                                                        : PositionKind::kScaledSinusoidal;
  config.hidden_dropout = options.dropout;
  config.init_std = options.init_std;
  config.head.decoder_bias = options.decoder_bias;
  FeedForwardConfig& layer = config.feed_forward;
  layer.kind = options.feed_forward == "dense"         ? FeedForwardKind::kDense
               : options.feed_forward == "leaf_tree"   ? FeedForwardKind::kLeafTree
               : options.feed_forward == "neuron_tree" ? FeedForwardKind::kNeuronTree
                                                       : FeedForwardKind::kNone;
  layer.nonlinearity = options.nonlinearity == "relu"   ? NonLinearity::kRelu
                       : options.nonlinearity == "gelu" ? NonLinearity::kGelu
                                                        : NonLinearity::kGeluGlu;
  layer.intermediate = options.intermediate;
  layer.trees = options.trees;
  layer.depth = options.depth;
  layer.two_sided = options.two_sided;
  layer.leaf_width = options.leaf_width;
  layer.paths = options.paths;
  layer.decision_scale = options.decision_scale;
  return ParseModelConfig(ModelConfigJson(config), "the model of these options");
}

}  // namespace grove::train
