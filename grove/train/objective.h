// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What a training run minimizes, behind its loop: a loss on a batch. One object per replica (replicas.h), all with the
// same parameters.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grove/nn/text_model.h"
#include "grove/train/batches.h"

namespace grove::train {

struct ObjectiveLoss {
  torch::Tensor per_word;   // scalar, a mean over the batch's masked words; minimized, and reported as the loss
  torch::Tensor per_token;  // scalar, a mean over its tokens; minimized too; undefined if there is none
  torch::Tensor terms;      // [term_names()], detached: what the log shows beside the loss; undefined if there is none
};

class Objective {
 public:
  virtual ~Objective() = default;
  // Everything with gradients: the model, and what only helps to train it.
  virtual torch::nn::Module& trained() = 0;
  // What the run leaves behind; a part of trained().
  virtual nn::TextModel& model() = 0;

  virtual ObjectiveLoss ComputeLoss(const Batch& batch) = 0;
  virtual std::vector<std::string> term_names() const { return {}; }
  // What held-out text is judged by, a mean over the batch's masked words: the masked-LM loss.
  virtual torch::Tensor ValidationLoss(const Batch& batch) = 0;
};

// Mean cross-entropy over the masked words, natural log, of a model with a masked-LM head; 0 over no words.
torch::Tensor MaskedLmLoss(nn::TextModel& model, const torch::Tensor& hidden, const Batch& batch);
nn::TextInput InputOf(const Batch& batch);

class MaskedLmObjective final : public Objective {
 public:
  explicit MaskedLmObjective(std::shared_ptr<nn::TextModel> model) : model_(std::move(model)) {}
  torch::nn::Module& trained() override { return *model_; }
  nn::TextModel& model() override { return *model_; }
  ObjectiveLoss ComputeLoss(const Batch& batch) override;
  torch::Tensor ValidationLoss(const Batch& batch) override;

 private:
  std::shared_ptr<nn::TextModel> model_;
};

}  // namespace grove::train
