// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Every option of a pretraining run, declared once: the table PretrainFields() feeds the command line and its help, the
// JSON configuration file, the run's log and the check that a resumed run continues the same one.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "grove/base/result.h"
#include "grove/io/model_config.h"

namespace grove::train {

struct PretrainOptions {
  std::string about;  // a configuration file's own words about itself
  std::string data, output;

  // The encoder.
  int64_t layers = 4, width = 256, heads = 4, length = 128;
  std::string positions = "scaled-sinusoidal";
  std::string feed_forward = "leaf_tree";
  std::string nonlinearity = "gelu";
  int64_t intermediate = 1024;
  int64_t trees = 1, depth = 4;
  bool two_sided = false;
  int64_t leaf_width = 32, paths = 2;
  double decision_scale = 1;
  double init_std = 0.02;
  bool decoder_bias = false;

  // The recipe (DESIGN.md, section 5).
  double minutes = 0;
  int64_t steps = 0, tokens = 0;
  int64_t batch = 64, micro_batch = 0;
  double batch_ramp = 0;
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.98, epsilon = 1e-12, weight_decay = 0.01, clip = 0.5;
  double mask_share = 0.25;
  double balance = 0.01, hardening = 0;
  double dropout = 0;
  int64_t seed = 1;

  // The run.
  std::string device = "auto";
  bool bf16 = true;
  int64_t log_every = 20, validate_every = 500, validation_sequences = 512;
  int64_t checkpoint_every = 500, keep_checkpoints = 2;
  std::string save_dtype = "fp32";
  bool save_decoder = false;

  int64_t MicroBatch() const { return micro_batch == 0 ? batch : micro_batch; }
};

struct OptionField {
  using Member = std::variant<bool PretrainOptions::*, int64_t PretrainOptions::*, double PretrainOptions::*,
                              std::string PretrainOptions::*>;
  const char* name;  // key in a configuration file; on the command line '_' becomes '-'
  Member member;
  const char* help;
  double low = 0, high = 0;  // range of a number, both included
  const char* choices = "";  // of a string: "auto cpu cuda"; empty for any
  bool may_change = false;   // may differ when a run is resumed
};

std::span<const OptionField> PretrainFields();

std::string FlagName(const OptionField& field);                                    // "--learning-rate"
std::string OptionText(const PretrainOptions& options, const OptionField& field);  // as SetOption reads it

// Sets one option from text. `where` names the flag or file in the error.
Status SetOption(PretrainOptions& options, const OptionField& field, std::string_view text, const std::string& where);

// Sets the options that the JSON object in `path` names. An unknown key is an error.
Status ReadOptionsFile(const std::string& path, PretrainOptions& options);
nlohmann::ordered_json OptionsJson(const PretrainOptions& options);

// What no single option can see: exactly one budget, batch a multiple of micro_batch, the output folder named.
Status CheckOptions(const PretrainOptions& options);
// An error naming the first option that may not change and did. `recorded` is OptionsJson of the interrupted run.
Status CheckSameRun(const PretrainOptions& options, const nlohmann::ordered_json& recorded);

// The model these options describe; validated as a config.json would be.
Result<ModelConfig> ModelConfigOf(const PretrainOptions& options, int64_t vocabulary, int64_t pad_id);

}  // namespace grove::train
