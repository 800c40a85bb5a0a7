// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Whole models: an encoder and what turns its hidden states into answers. Parameter names are the published ones.
//
//   auto model = std::make_shared<MaskedLm>(config, ModuleOptions{});
//   const MaskedLm::Loss loss = model->ComputeLoss(ids, {}, positions, labels);
//   loss.value.backward();
#pragma once

#include <memory>

#include "grove/nn/encoder.h"
#include "grove/nn/text_model.h"

namespace grove::nn {

// Predicts hidden words with the word embedding as its output weights (tied).
class MaskedLm final : public TextModel {
 public:
  MaskedLm(const ModelConfig& config, const ModuleOptions& options);

  struct Output {
    torch::Tensor logits;  // [batch, length, vocabulary]
    torch::Tensor hidden;  // [batch, length, width]
  };
  Output Forward(const torch::Tensor& ids, const torch::Tensor& attention_mask);

  struct Loss {
    torch::Tensor masked_lm;    // mean cross-entropy over the masked positions, natural log; 0 over none
    torch::Tensor regularizer;  // undefined if there is none
  };
  // Only masked positions reach the decoder. positions [masked] int64: indices into the flattened [batch x length];
  // labels [masked] int64: the words hidden there.
  Loss ComputeLoss(const torch::Tensor& ids, const torch::Tensor& attention_mask, const torch::Tensor& positions,
                   const torch::Tensor& labels);

  EncoderOutput Encode(const TextInput& input, ForwardTrace* trace) override;
  torch::Tensor Logits(const torch::Tensor& hidden, const torch::Tensor& attention_mask,
                       const torch::Tensor& positions) override;
  std::vector<std::shared_ptr<FeedForward>> FeedForwards() const override { return encoder_->FeedForwards(); }

 private:
  torch::Tensor Decode(const torch::Tensor& hidden) const;

  std::shared_ptr<Encoder> encoder_;
  torch::Tensor decoder_bias_;  // undefined without
};

class SequenceClassifier final : public TextModel {
 public:
  SequenceClassifier(const ModelConfig& config, const ModuleOptions& options);
  // -> logits [batch, labels]. Poolers see padding as the reference's do; the mean, ours, does not.
  torch::Tensor Forward(const torch::Tensor& ids, const torch::Tensor& attention_mask);

  EncoderOutput Encode(const TextInput& input, ForwardTrace* trace) override;
  torch::Tensor Logits(const torch::Tensor& hidden, const torch::Tensor& attention_mask,
                       const torch::Tensor& positions) override;
  std::vector<std::shared_ptr<FeedForward>> FeedForwards() const override { return encoder_->FeedForwards(); }

 private:
  PoolerKind pooler_;
  double dropout_;
  std::shared_ptr<Encoder> encoder_;
  torch::nn::Linear pooler_dense_{nullptr}, head_{nullptr};
};

// A label for every token: a linear layer on its hidden vector, as in the paper's class; dropout before it in training.
class TokenClassifier final : public TextModel {
 public:
  TokenClassifier(const ModelConfig& config, const ModuleOptions& options);

  EncoderOutput Encode(const TextInput& input, ForwardTrace* trace) override;
  torch::Tensor Logits(const torch::Tensor& hidden, const torch::Tensor& attention_mask,
                       const torch::Tensor& positions) override;
  std::vector<std::shared_ptr<FeedForward>> FeedForwards() const override { return encoder_->FeedForwards(); }

 private:
  double dropout_;
  std::shared_ptr<Encoder> encoder_;
  torch::nn::Linear head_{nullptr};
};

}  // namespace grove::nn
