// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/encoder.h"

#include <cmath>
#include <string>
#include <utility>

#include "grove/base/check.h"
#include "grove/nn/dropout.h"
#include "grove/nn/fused_ops.h"

namespace grove::nn {
namespace {

torch::nn::LayerNorm EncoderNorm(const ModelConfig& config) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({config.width}).eps(config.norm_eps));
}

// pe[p, 2i] = sin(p / 10000^(2i / width)), pe[p, 2i + 1] = cos of the same; [length, width].
torch::Tensor Sinusoids(int64_t length, int64_t width) {
  const torch::Tensor position = torch::arange(length, torch::kFloat).unsqueeze(1);
  const torch::Tensor even = torch::arange(0, width, 2, torch::kFloat);
  const torch::Tensor angle = position * torch::exp(even * (-std::log(10000.0) / static_cast<double>(width)));
  return torch::stack({torch::sin(angle), torch::cos(angle)}, -1).flatten(1).narrow(1, 0, width).contiguous();
}

}  // namespace

torch::Tensor AdditiveMask(const torch::Tensor& attention_mask) {
  if (!attention_mask.defined()) return {};
  return (1.0 - attention_mask.to(torch::kFloat)).mul(-10000.0).unsqueeze(1).unsqueeze(1);
}

torch::nn::Linear MakeLinear(int64_t in, int64_t out, bool bias, double std) {
  torch::nn::Linear linear(torch::nn::LinearOptions(in, out).bias(bias));
  const torch::NoGradGuard no_grad;
  linear->weight.normal_(0.0, std);
  if (bias) linear->bias.zero_();
  return linear;
}

Embedding::Embedding(const ModelConfig& config) : dropout_(config.hidden_dropout) {
  // padding_idx: no gradient reaches the padding row from the input side, as in the reference.
  word_embedding_ = register_module(
      "word_embedding",
      torch::nn::Embedding(torch::nn::EmbeddingOptions(config.vocabulary, config.width).padding_idx(config.pad_id)));
  {
    const torch::NoGradGuard no_grad;
    word_embedding_->weight.normal_(0.0, config.init_std);
    word_embedding_->weight[config.pad_id].zero_();
  }
  switch (config.position) {
    case PositionKind::kLearned: {
      // Sinusoids twice as large as the words, to begin with: attention finds neighbours by a rotation of them. From
      // random positions a small model stays at word frequencies for longer, some seeds for twice the tokens.
      const torch::nn::Embedding table(config.max_length, config.width);
      table->weight.set_data(Sinusoids(config.max_length, config.width) * (2.0 * std::sqrt(2.0) * config.init_std));
      pos_embedding_ = std::make_shared<torch::nn::Module>();
      learned_ = pos_embedding_->register_module("embedding", table)->weight;
      break;
    }
    case PositionKind::kScaledSinusoidal:
      pos_embedding_ = std::make_shared<torch::nn::Module>();
      scale_ = pos_embedding_->register_parameter("scale_factor",
                                                  torch::full({1}, 1.0 / std::sqrt(static_cast<double>(config.width))));
      [[fallthrough]];
    case PositionKind::kSinusoidal:
      sinusoids_ = register_buffer("sinusoids", Sinusoids(config.max_length, config.width));
      break;
  }
  if (pos_embedding_) register_module("pos_embedding", pos_embedding_);
  if (config.embedding_norm) norm_ = register_module("norm", EncoderNorm(config));
}

torch::Tensor Embedding::Positions(int64_t length) const {
  if (learned_.defined()) return learned_.narrow(0, 0, length);
  const torch::Tensor positions = sinusoids_.narrow(0, 0, length);
  return scale_.defined() ? scale_ * positions : positions;
}

torch::Tensor Embedding::Forward(const torch::Tensor& ids) {
  torch::Tensor h = word_embedding_->forward(ids) + Positions(ids.size(1));
  if (!norm_.is_empty()) h = norm_->forward(h);
  return Dropout(h, dropout_, is_training());
}

Attention::Attention(const ModelConfig& config) : heads_(config.heads), dropout_(config.hidden_dropout) {
  query_key_value_ = MakeLinear(config.width, 3 * config.width, /*bias=*/false, config.init_std);
  self_attention_ = register_module("self_attention", std::make_shared<torch::nn::Module>());
  self_attention_->register_module("query_key_value", query_key_value_);
  dense_ = register_module("dense", MakeLinear(config.width, config.width, /*bias=*/false, config.init_std));
}

torch::Tensor Attention::Forward(const torch::Tensor& h, const torch::Tensor& mask) {
  const int64_t batch = h.size(0), length = h.size(1), width = h.size(2), head_width = width / heads_;
  // The product's rows are grouped by head: head 0's q, k, v, then head 1's, ...
  // unbind, not three selects: its gradient is one pass over all three.
  const auto qkv = query_key_value_->forward(h).view({batch, length, heads_, 3, head_width}).unbind(3);
  const auto part = [&](size_t i) { return qkv[i].transpose(1, 2); };  // [batch, heads, length, head_width]
  const torch::Tensor mixed =
      ScaledDotProductAttention(part(0), part(1), part(2), mask, 1.0 / std::sqrt(static_cast<double>(head_width)),
                                is_training() ? dropout_ : 0.0);
  return dense_->forward(mixed.transpose(1, 2).reshape({batch, length, width}));
}

Block::Block(const ModelConfig& config, int64_t index, const ModuleOptions& options) : dropout_(config.hidden_dropout) {
  norm1_ = register_module("norm1", EncoderNorm(config));
  attention_ = register_module("attn", std::make_shared<Attention>(config));
  feed_forward_ = MakeFeedForward({config.FeedForwardOf(index), config.width, config.init_std, options, index});
  if (!feed_forward_) return;
  norm2_ = register_module("norm2", EncoderNorm(config));
  register_module("ffn", feed_forward_);
}

Block::Output Block::Forward(const Stream& stream, const torch::Tensor& mask, const torch::Tensor& ids,
                             ForwardTrace* trace) {
  const Residual before = AddNorm(stream.h, stream.delta, norm1_);
  const torch::Tensor attended = Dropout(attention_->Forward(before.normalized, mask), dropout_, is_training());
  if (!feed_forward_) return {{before.sum, attended}, {}};
  const Residual between = AddNorm(before.sum, attended, norm2_);
  const torch::Tensor x = between.normalized.flatten(0, 1);
  const FeedForward::Output out = feed_forward_->Forward(x, ids);
  if (trace != nullptr) trace->AddFeedForward(x, out.y);
  return {{between.sum, Dropout(out.y.view_as(between.sum), dropout_, is_training())}, out.regularizer};
}

Encoder::Encoder(const ModelConfig& config, const ModuleOptions& options) {
  embedding_ = register_module("embedding", std::make_shared<Embedding>(config));
  const auto layers = register_module("layers", std::make_shared<torch::nn::Module>());
  for (int64_t i = 0; i < config.layers; ++i) {
    blocks_.push_back(layers->register_module(std::to_string(i), std::make_shared<Block>(config, i, options)));
  }
  if (config.final_norm) final_norm_ = register_module("final_norm", EncoderNorm(config));
}

EncoderOutput Encoder::Forward(const torch::Tensor& ids, const torch::Tensor& attention_mask, ForwardTrace* trace) {
  const torch::Tensor mask = AdditiveMask(attention_mask);
  const torch::Tensor tokens = ids.flatten();
  EncoderOutput out;
  Stream stream{embedding_->Forward(ids), {}};
  for (const std::shared_ptr<Block>& block : blocks_) {
    Block::Output step = block->Forward(stream, mask, tokens, trace);
    stream = std::move(step.stream);
    if (trace != nullptr) {
      stream = {stream.Value(), {}};
      trace->hidden.push_back(stream.h);
    }
    out.AddRegularizer(step.regularizer);
  }
  out.hidden = final_norm_.is_empty() ? stream.Value() : AddNorm(stream.h, stream.delta, final_norm_).normalized;
  return out;
}

std::vector<std::shared_ptr<FeedForward>> Encoder::FeedForwards() const {
  std::vector<std::shared_ptr<FeedForward>> all;
  for (const auto& block : blocks_) all.push_back(block->feed_forward());
  return all;
}

}  // namespace grove::nn
