// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/pretrain_options.h"

#include <nlohmann/json.hpp>

namespace grove::train {
namespace {

void AddRecipeOptions(PretrainOptions& o, OptionList& list) {
  const OptionList own = {
      {"minutes", &o.minutes, "Budget: wall-clock minutes", 0, kMany, "", true},
      {"steps", &o.steps, "Budget: optimizer steps", 0, kMany, "", true},
      {"tokens", &o.tokens, "Budget: training tokens", 0, kMany, "", true},
      {"batch", &o.batch, "Sequences of one optimizer step", 1, 1 << 24},
      {"micro_batch", &o.micro_batch, "Sequences of one forward pass; 0: the whole batch", 0, 1 << 24},
      {"batch_ramp", &o.batch_ramp, "Share of the budget over which the batch grows to its full size", 0, 1},
      {"learning_rate", &o.learning_rate, "Peak rate of AdamW", 0, 10},
      {"beta1", &o.beta1, "AdamW: decay of the mean gradient", 0, 1},
      {"beta2", &o.beta2, "AdamW: decay of the mean squared gradient", 0, 1},
      {"epsilon", &o.epsilon, "AdamW: added to the denominator", 0, 1},
      {"weight_decay", &o.weight_decay, "AdamW: not on biases and norms", 0, 10},
      {"clip", &o.clip, "Largest norm of the gradient", 1e-9, 1e9},
      {"mask_share", &o.mask_share, "Share of tokens to predict (80/10/10 masked, random, kept)", 0.01, 0.9},
      {"dropout", &o.dropout, "Probability of dropping a hidden value", 0, 0.9},
      {"init", &o.init, "Initial weights; see docs/diagnostics.md", 0, 0, "recipe scaled published alike"},
      {"unit_rate_power", &o.unit_rate_power,
       "A unit's rate is multiplied by the share of the tokens that use it, to this power; 0: the same rate for all",
       -2, 2},
      {"lazy_units", &o.lazy_units, "Units that no token of a step used keep weights and moments in it"},
      {"ancestor_steps", &o.ancestor_steps,
       "Leaves also take the steps of so many subtrees that hold them (docs/diagnostics.md); experts: 1", 0, 24},
      {"seed", &o.seed, "Of initialization, order and masks", 0, 9e15},
  };
  list.insert(list.end(), own.begin(), own.end());
}

void AddRunOptions(PretrainOptions& o, OptionList& list) {
  const OptionList own = {
      {"device", &o.device, "Where to compute", 0, 0, "auto cpu cuda", true},
      {"bf16", &o.bf16, "On a GPU: autocast to bf16", 0, 0, "", true},
      {"log_every", &o.log_every, "Steps between log lines", 1, kMany, "", true},
      {"routing_every", &o.routing_every, "Log lines between reports on routing; 0: none", 0, kMany, "", true},
      {"few_tokens", &o.few_tokens, "A unit that fewer tokens of a step used counts as over-fragmented", 1, kMany, "",
       true},
      {"tensorboard", &o.tensorboard, "Write event files to OUTPUT/tensorboard", 0, 0, "", true},
      {"validate_every", &o.validate_every, "Steps between validations; 0: only at the end", 0, kMany, "", true},
      {"validation_sequences", &o.validation_sequences, "Held-out sequences, at most", 1, kMany, "", true},
      {"checkpoint_every", &o.checkpoint_every, "Steps between checkpoints; 0: only at the end", 0, kMany, "", true},
      {"keep_checkpoints", &o.keep_checkpoints, "Newest checkpoints kept", 1, 1000, "", true},
      {"save_dtype", &o.save_dtype, "Number format of the saved model", 0, 0, "fp32 bf16", true},
      {"save_decoder", &o.save_decoder, "Store the tied output weights as well", 0, 0, "", true},
  };
  list.insert(list.end(), own.begin(), own.end());
}

}  // namespace

OptionList PretrainOptionList(PretrainOptions& o) {
  OptionList list = {
      {"about", &o.about, "What this configuration is for", 0, 0, "", true},
      {"data", &o.data, "Folder of packed text, made by `grove-train data`", 0, 0, "", true},
      {"output", &o.output, "Folder for the model, the log and the checkpoints", 0, 0, "", true},
      {"start_from", &o.start_from, "Model directory to start from: its shape and weights, not random ones", 0, 0, "",
       true},
  };
  AddModelOptions(o, list);
  AddRoutingOptions(o, list);
  AddRecipeOptions(o, list);
  AddRunOptions(o, list);
  return list;
}

OptionList RecordedOptions(PretrainOptions& options) {
  OptionList list = PretrainOptionList(options);
  if (options.start_from.empty()) return list;
  OptionList shape;
  AddModelOptions(options, shape);
  std::erase_if(list, [&](const Option& option) {
    return option.name != "length" && (option.name == "init" || FindOption(shape, option.name));
  });
  return list;
}

nlohmann::ordered_json OptionsJson(const PretrainOptions& options) {
  PretrainOptions copy = options;
  return OptionsJson(PretrainOptionList(copy));
}

Status CheckOptions(const PretrainOptions& options, bool writes) {
  const auto wrong = [](const char* text) { return Error(ErrorCode::kInvalidArgument, text); };
  if (options.data.empty()) return wrong("--data is missing; name the folder that `grove-train data` made");
  if (writes && options.output.empty()) return wrong("--output is missing; name the folder for the model");
  const int budgets = (options.minutes > 0 ? 1 : 0) + (options.steps > 0 ? 1 : 0) + (options.tokens > 0 ? 1 : 0);
  if (budgets != 1) return wrong("exactly one budget must be given: --minutes, --steps or --tokens");
  if (options.batch % options.MicroBatch() != 0) return wrong("--batch must be a multiple of --micro-batch");
  if (!options.start_from.empty()) return Ok{};  // its shape is in order
  if (options.width % options.heads != 0) return wrong("--width must be a multiple of --heads");
  // The shape, before any data is read: the vocabulary is no part of what can be wrong with it.
  GROVE_RETURN_IF_ERROR(ModelConfigOf(options, options.dropout, /*vocabulary=*/4096, /*pad_id=*/0));
  return Ok{};
}

}  // namespace grove::train
