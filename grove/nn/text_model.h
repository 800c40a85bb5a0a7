// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What distillation and conversion ask of a model, whatever its family and head.
//
//   GROVE_ASSIGN_OR_RETURN(const auto model, LoadTextModel(directory, ModuleOptions{}));
//   ForwardTrace trace;
//   const EncoderOutput out = model->Encode({.ids = ids, .attention_mask = mask}, &trace);
//   const torch::Tensor logits = model->Logits(out.hidden, mask, positions);
#pragma once

#include <memory>
#include <vector>

#include "grove/base/result.h"
#include "grove/io/model_directory.h"
#include "grove/nn/encoder.h"

namespace grove::nn {

struct TextInput {
  torch::Tensor ids;             // [batch, length] int64
  torch::Tensor attention_mask;  // [batch, length], 1 = token, 0 = padding; undefined: no padding
  torch::Tensor token_types;     // [batch, length] int64, 0 or 1 in a pair; undefined: 0. BERT only
};

class TextModel : public torch::nn::Module {
 public:
  // `trace` may be null.
  virtual EncoderOutput Encode(const TextInput& input, ForwardTrace* trace) = 0;

  // The head's answers to `hidden` [batch, length, width]: masked LM [positions, vocabulary] and token classification
  // [positions, labels] for the positions named (int64 indices into the flattened [batch x length]; undefined: all);
  // sequence classification [batch, labels] whatever the positions. `attention_mask` is that of Encode's input: the
  // mean of a sequence's tokens leaves out padding. Undefined if the model has no head.
  virtual torch::Tensor Logits(const torch::Tensor& hidden, const torch::Tensor& attention_mask,
                               const torch::Tensor& positions) = 0;

  // Of every block; null where it has none.
  virtual std::vector<std::shared_ptr<FeedForward>> FeedForwards() const = 0;
};

// A model of the family and head that `config` names, with initial weights.
std::shared_ptr<TextModel> MakeTextModel(const ModelConfig& config, const ModuleOptions& options);

// The same with the directory's weights.
Result<std::shared_ptr<TextModel>> LoadTextModel(const ModelDirectory& directory, const ModuleOptions& options);

// Rows of `hidden` [batch, length, width] at flattened positions, or all of them: [rows, width].
torch::Tensor RowsAt(const torch::Tensor& hidden, const torch::Tensor& positions);

}  // namespace grove::nn
