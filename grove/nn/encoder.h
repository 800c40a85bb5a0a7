// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The crammedBERT encoder of the paper as LibTorch modules: embedding, pre-norm blocks, final norm. Parameter names are
// those of the published checkpoints (encoder.layers.0.attn.dense.weight, ...).
//
//   h = norm(word[ids] + position)
//   h = h + attention(norm1(h));  h = h + feed_forward(norm2(h))      per block; the second only if there is a layer
//   hidden = final_norm(h)
#pragma once

#include <memory>
#include <vector>

#include "grove/io/model_config.h"
#include "grove/nn/feed_forward.h"

namespace grove::nn {

class Embedding final : public torch::nn::Module {
 public:
  explicit Embedding(const ModelConfig& config);
  torch::Tensor Forward(const torch::Tensor& ids);  // [batch, length] -> [batch, length, width]
  const torch::Tensor& word_weight() const { return word_embedding_->weight; }

 private:
  torch::Tensor Positions(int64_t length) const;  // [length, width]

  double dropout_;
  torch::nn::Embedding word_embedding_{nullptr};
  std::shared_ptr<torch::nn::Module> pos_embedding_;
  torch::Tensor learned_, sinusoids_, scale_;  // of the configured kind of positions
  torch::nn::LayerNorm norm_{nullptr};
};

class Attention final : public torch::nn::Module {
 public:
  explicit Attention(const ModelConfig& config);
  // mask: additive, [batch, 1, 1, length], or undefined.
  torch::Tensor Forward(const torch::Tensor& h, const torch::Tensor& mask);

 private:
  int64_t heads_;
  double dropout_;
  std::shared_ptr<torch::nn::Module> self_attention_;
  torch::nn::Linear query_key_value_{nullptr}, dense_{nullptr};
};

// What a forward pass went through: what distillation compares and conversion learns from.
struct ForwardTrace {
  std::vector<torch::Tensor> hidden;            // after every block, [batch, length, width]
  std::vector<torch::Tensor> feed_forward_in;   // of every block that has a feedforward layer, [tokens, width]
  std::vector<torch::Tensor> feed_forward_out;  // the same, before it is added to the residual

  void AddFeedForward(const torch::Tensor& in, const torch::Tensor& out) {
    feed_forward_in.push_back(in);
    feed_forward_out.push_back(out);
  }
};

// The residual stream between blocks: its value is h + delta, and that sum is left to the norm that comes next
// (fused_ops.h: one pass over memory instead of two).
struct Stream {
  torch::Tensor h;      // [batch, length, width]
  torch::Tensor delta;  // the same, or undefined
  torch::Tensor Value() const { return delta.defined() ? h + delta : h; }
};

class Block final : public torch::nn::Module {
 public:
  Block(const ModelConfig& config, int64_t index, const ModuleOptions& options);
  struct Output {
    Stream stream;
    torch::Tensor regularizer;  // of the feedforward layer
  };
  // mask as in Attention; ids [batch x length].
  Output Forward(const Stream& stream, const torch::Tensor& mask, const torch::Tensor& ids,
                 ForwardTrace* trace = nullptr);
  const std::shared_ptr<FeedForward>& feed_forward() const { return feed_forward_; }

 private:
  double dropout_;
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
  std::shared_ptr<Attention> attention_;
  std::shared_ptr<FeedForward> feed_forward_;
};

struct EncoderOutput {
  torch::Tensor hidden;       // [batch, length, width]
  torch::Tensor regularizer;  // summed over the layers, scalar; undefined if no layer has one

  void AddRegularizer(const torch::Tensor& of_layer) {
    if (of_layer.defined()) regularizer = regularizer.defined() ? regularizer + of_layer : of_layer;
  }
};

class Encoder final : public torch::nn::Module {
 public:
  Encoder(const ModelConfig& config, const ModuleOptions& options);
  // ids [batch, length] int64; attention_mask [batch, length], 1 = token, 0 = padding, or undefined.
  EncoderOutput Forward(const torch::Tensor& ids, const torch::Tensor& attention_mask, ForwardTrace* trace = nullptr);
  const torch::Tensor& word_weight() const { return embedding_->word_weight(); }
  std::vector<std::shared_ptr<FeedForward>> FeedForwards() const;

 private:
  std::shared_ptr<Embedding> embedding_;
  std::vector<std::shared_ptr<Block>> blocks_;
  torch::nn::LayerNorm final_norm_{nullptr};
};

// What is added to the scores, [batch, 1, 1, length]: 0 at tokens, -10000 at padding, as in the reference: finite, so
// that a row of padding alone stays finite too. Undefined for an undefined mask.
torch::Tensor AdditiveMask(const torch::Tensor& attention_mask);

// A Linear with weights normal(std) and zero bias, the recipe's initialization.
torch::nn::Linear MakeLinear(int64_t in, int64_t out, bool bias, double std);

}  // namespace grove::nn
