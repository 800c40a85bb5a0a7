// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/heads.h"

#include "grove/nn/dropout.h"
#include "grove/nn/fused_ops.h"

namespace grove::nn {

MaskedLm::MaskedLm(const ModelConfig& config, const ModuleOptions& options) {
  encoder_ = register_module("encoder", std::make_shared<Encoder>(config, options));
  if (!config.head.decoder_bias) return;
  const auto decoder = register_module("decoder", std::make_shared<torch::nn::Module>());
  decoder_bias_ = decoder->register_parameter("bias", torch::zeros({config.vocabulary}));
}

torch::Tensor MaskedLm::Decode(const torch::Tensor& hidden) const {
  return torch::linear(hidden, encoder_->word_weight(), decoder_bias_);
}

MaskedLm::Output MaskedLm::Forward(const torch::Tensor& ids, const torch::Tensor& attention_mask) {
  const torch::Tensor hidden = encoder_->Forward(ids, attention_mask).hidden;
  return {Decode(hidden), hidden};
}

MaskedLm::Loss MaskedLm::ComputeLoss(const torch::Tensor& ids, const torch::Tensor& attention_mask,
                                     const torch::Tensor& positions, const torch::Tensor& labels) {
  const EncoderOutput out = encoder_->Forward(ids, attention_mask);
  const torch::Tensor logits = Decode(out.hidden.flatten(0, 1).index_select(0, positions));
  return {MeanCrossEntropy(logits, labels), out.regularizer};
}

EncoderOutput MaskedLm::Encode(const TextInput& input, ForwardTrace* trace) {
  return encoder_->Forward(input.ids, input.attention_mask, trace);
}

torch::Tensor MaskedLm::Logits(const torch::Tensor& hidden, const torch::Tensor&, const torch::Tensor& positions) {
  return Decode(RowsAt(hidden, positions));
}

SequenceClassifier::SequenceClassifier(const ModelConfig& config, const ModuleOptions& options)
    : pooler_(config.head.pooler), dropout_(config.hidden_dropout) {
  const HeadConfig& head = config.head;
  encoder_ = register_module("encoder", std::make_shared<Encoder>(config, options));
  const int64_t pooled = head.pooler_dense ? head.pooler_width : config.width;
  if (head.pooler_dense) {
    const auto pooler = register_module("pooler", std::make_shared<torch::nn::Module>());
    pooler_dense_ = pooler->register_module("dense", MakeLinear(config.width, pooled, /*bias=*/true, config.init_std));
  }
  head_ = register_module("head", MakeLinear(pooled, head.labels, /*bias=*/true, config.init_std));
}

torch::Tensor SequenceClassifier::Forward(const torch::Tensor& ids, const torch::Tensor& attention_mask) {
  return Logits(encoder_->Forward(ids, attention_mask).hidden, attention_mask, {});
}

EncoderOutput SequenceClassifier::Encode(const TextInput& input, ForwardTrace* trace) {
  return encoder_->Forward(input.ids, input.attention_mask, trace);
}

namespace {

// [batch, length, width] -> [batch, width]. A sequence that is all padding counts as unmasked, as for attention.
torch::Tensor MeanOfTokens(const torch::Tensor& hidden, const torch::Tensor& attention_mask) {
  if (!attention_mask.defined()) return hidden.mean(1);
  torch::Tensor tokens = attention_mask.ne(0);
  tokens = tokens.logical_or(tokens.any(1, /*keepdim=*/true).logical_not()).unsqueeze(2).to(torch::kFloat);
  return (hidden * tokens).sum(1) / tokens.sum(1);
}

}  // namespace

torch::Tensor SequenceClassifier::Logits(const torch::Tensor& hidden, const torch::Tensor& attention_mask,
                                         const torch::Tensor&) {
  torch::Tensor pooled;
  switch (pooler_) {
    case PoolerKind::kAverage:
      pooled = hidden.mean(1);
      break;
    case PoolerKind::kFirstToken:
      pooled = hidden.select(1, 0);
      break;
    case PoolerKind::kLogSumExp:
      pooled = hidden.logsumexp(1);
      break;
    case PoolerKind::kMax:
      pooled = hidden.amax(1);
      break;
    case PoolerKind::kMean:
      pooled = MeanOfTokens(hidden, attention_mask);
      break;
  }
  if (!pooler_dense_.is_empty()) pooled = pooler_dense_->forward(pooled);
  return head_->forward(Dropout(torch::tanh(pooled), dropout_, is_training()));
}

TokenClassifier::TokenClassifier(const ModelConfig& config, const ModuleOptions& options)
    : dropout_(config.hidden_dropout) {
  encoder_ = register_module("encoder", std::make_shared<Encoder>(config, options));
  head_ = register_module("head", MakeLinear(config.width, config.head.labels, /*bias=*/true, config.init_std));
}

EncoderOutput TokenClassifier::Encode(const TextInput& input, ForwardTrace* trace) {
  return encoder_->Forward(input.ids, input.attention_mask, trace);
}

torch::Tensor TokenClassifier::Logits(const torch::Tensor& hidden, const torch::Tensor&,
                                      const torch::Tensor& positions) {
  return head_->forward(Dropout(RowsAt(hidden, positions), dropout_, is_training()));
}

}  // namespace grove::nn
