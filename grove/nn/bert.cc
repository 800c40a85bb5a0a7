// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/bert.h"

#include <cmath>

#include "grove/base/check.h"
#include "grove/io/bert_names.h"
#include "grove/nn/dropout.h"

namespace grove::nn {
namespace {

using torch::nn::Module;

// The child of that name, a plain module if there is none yet.
std::shared_ptr<Module> Folder(Module& root, const std::string& name) {
  const auto children = root.named_children();
  const std::shared_ptr<Module>* found = children.find(name);
  return found != nullptr ? *found : root.register_module(name, std::make_shared<Module>());
}

// Registers `child` under a path of names, with plain modules for the folders of the path.
template <class Holder>
Holder RegisterAt(Module& root, const std::string& path, Holder child) {
  const size_t dot = path.find('.');
  if (dot == std::string::npos) return root.register_module(path, child);
  return RegisterAt(*Folder(root, path.substr(0, dot)), path.substr(dot + 1), child);
}

torch::nn::LayerNorm BertNorm(const ModelConfig& config) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({config.width}).eps(config.norm_eps));
}

torch::nn::Linear WithBias(const ModelConfig& config, int64_t in, int64_t out) {
  return MakeLinear(in, out, /*bias=*/true, config.init_std);
}

torch::nn::Embedding MakeTable(const ModelConfig& config, int64_t rows, int64_t padding = -1) {
  auto options = torch::nn::EmbeddingOptions(rows, config.width);
  if (padding >= 0) options.padding_idx(padding);
  torch::nn::Embedding table(options);
  const torch::NoGradGuard no_grad;
  table->weight.normal_(0.0, config.init_std);
  if (padding >= 0) table->weight[padding].zero_();
  return table;
}

// W_out act(W_in x + b_in) + b_out. Its Linears are registered in the block, under the names of the family.
class DenseWithBias final : public FeedForward {
 public:
  DenseWithBias(const ModelConfig& config)
      : in_(register_module("dense_in", WithBias(config, config.width, config.feed_forward.intermediate))),
        out_(register_module("dense_out", WithBias(config, config.feed_forward.intermediate, config.width))),
        activation_(KernelActivation(config.feed_forward.nonlinearity)) {}

  const torch::nn::Linear& in() const { return in_; }
  const torch::nn::Linear& out() const { return out_; }

 protected:
  Output Compute(const torch::Tensor& x, const torch::Tensor&) override {
    return {out_->forward(Activate(activation_, in_->forward(x))), {}};
  }

 private:
  torch::nn::Linear in_, out_;
  Activation activation_;
};

}  // namespace

class BertLayer final : public Module {
 public:
  BertLayer(const ModelConfig& config, int64_t index, const ModuleOptions& options)
      : heads_(config.heads),
        hidden_dropout_(config.hidden_dropout),
        attention_dropout_(config.attention_dropout),
        drop_attended_(config.family == ModelFamily::kBert) {
    const BertLayerNames& names = BertLayerNamesOf(config.family);
    const auto square = [&](const char* name) {
      return RegisterAt(*this, name, WithBias(config, config.width, config.width));
    };
    query_ = square(names.query);
    key_ = square(names.key);
    value_ = square(names.value);
    attention_out_ = square(names.attention_out);
    attention_norm_ = RegisterAt(*this, names.attention_norm, BertNorm(config));
    const FeedForwardConfig& layer = config.FeedForwardOf(index);
    if (layer.kind == FeedForwardKind::kNone) return;
    if (layer.kind == FeedForwardKind::kDense) {
      const auto dense = std::make_shared<DenseWithBias>(config);
      RegisterAt(*this, names.in, dense->in());
      RegisterAt(*this, names.out, dense->out());
      feed_forward_ = dense;
    } else {
      feed_forward_ = MakeFeedForward({layer, config.width, config.init_std, options, index});
      register_module(names.tree, feed_forward_);
    }
    norm_ = RegisterAt(*this, names.norm, BertNorm(config));
  }

  // h [batch, length, width]; mask additive, [batch, 1, 1, length], or undefined; ids [batch x length].
  FeedForward::Output Forward(const torch::Tensor& h, const torch::Tensor& mask, const torch::Tensor& ids,
                              ForwardTrace* trace) {
    torch::Tensor attended = attention_out_->forward(Attend(h, mask));
    if (drop_attended_) attended = Drop(attended);
    attended = attention_norm_->forward(h + attended);
    if (!feed_forward_) return {attended, {}};
    const torch::Tensor x = attended.flatten(0, 1);
    const FeedForward::Output out = feed_forward_->Forward(x, ids);
    if (trace != nullptr) trace->AddFeedForward(x, out.y);
    return {norm_->forward(attended + Drop(out.y.view_as(attended))), out.regularizer};
  }

  const std::shared_ptr<FeedForward>& feed_forward() const { return feed_forward_; }

 private:
  torch::Tensor Attend(const torch::Tensor& h, const torch::Tensor& mask) {
    const int64_t batch = h.size(0), length = h.size(1), width = h.size(2), head_width = width / heads_;
    const auto split = [&](torch::nn::Linear& linear) {
      return linear->forward(h).view({batch, length, heads_, head_width}).transpose(1, 2);
    };
    const torch::Tensor mixed = ScaledDotProductAttention(split(query_), split(key_), split(value_), mask,
                                                          1.0 / std::sqrt(static_cast<double>(head_width)),
                                                          is_training() ? attention_dropout_ : 0.0);
    return mixed.transpose(1, 2).reshape({batch, length, width});
  }
  torch::Tensor Drop(const torch::Tensor& x) const { return Dropout(x, hidden_dropout_, is_training()); }

  int64_t heads_;
  double hidden_dropout_, attention_dropout_;
  bool drop_attended_;
  torch::nn::Linear query_{nullptr}, key_{nullptr}, value_{nullptr}, attention_out_{nullptr};
  torch::nn::LayerNorm attention_norm_{nullptr}, norm_{nullptr};
  std::shared_ptr<FeedForward> feed_forward_;
};

Bert::~Bert() = default;

std::string Bert::Base(const std::string& name) const { return BertEncoderName(config_, name); }

Bert::Bert(const ModelConfig& config, const ModuleOptions& options) : config_(config) {
  GROVE_CHECK(!config.crammed());
  MakeEmbedding();
  for (int64_t i = 0; i < config.layers; ++i) {
    layers_.push_back(RegisterAt(*this, BertLayerPrefix(config, i), std::make_shared<BertLayer>(config, i, options)));
  }
  MakeHead();
}

void Bert::MakeEmbedding() {
  words_ =
      RegisterAt(*this, Base("embeddings.word_embeddings"), MakeTable(config_, config_.vocabulary, config_.pad_id));
  positions_ = RegisterAt(*this, Base("embeddings.position_embeddings"), MakeTable(config_, config_.max_length));
  if (config_.token_types > 0) {
    types_ = RegisterAt(*this, Base("embeddings.token_type_embeddings"), MakeTable(config_, config_.token_types));
  }
  embedding_norm_ = RegisterAt(*this, Base("embeddings.LayerNorm"), BertNorm(config_));
}

void Bert::MakeHead() {
  const HeadConfig& head = config_.head;
  const bool bert = config_.family == ModelFamily::kBert;
  const auto square = [&] { return WithBias(config_, config_.width, config_.width); };
  const auto classifier = [&] { return register_module("classifier", WithBias(config_, config_.width, head.labels)); };
  switch (head.kind) {
    case HeadKind::kMaskedLm: {
      transform_ = RegisterAt(*this, bert ? "cls.predictions.transform.dense" : "vocab_transform", square());
      transform_norm_ =
          RegisterAt(*this, bert ? "cls.predictions.transform.LayerNorm" : "vocab_layer_norm", BertNorm(config_));
      const std::shared_ptr<Module> parent =
          bert ? Folder(*Folder(*this, "cls"), "predictions") : Folder(*this, "vocab_projector");
      decoder_bias_ = parent->register_parameter("bias", torch::zeros({config_.vocabulary}));
      break;
    }
    case HeadKind::kNone:
      if (bert && head.pooler_dense) pooler_ = RegisterAt(*this, Base("pooler.dense"), square());
      break;
    case HeadKind::kSequenceClassification:
      pooler_ = RegisterAt(*this, bert ? Base("pooler.dense") : "pre_classifier", square());
      classifier_ = classifier();
      break;
    case HeadKind::kTokenClassification:
      classifier_ = classifier();
      break;
  }
}

torch::Tensor Bert::Embed(const TextInput& input) {
  torch::Tensor h = words_->forward(input.ids) + positions_->weight.narrow(0, 0, input.ids.size(1));
  if (!types_.is_empty()) {
    h = h + (input.token_types.defined() ? types_->forward(input.token_types) : types_->weight[0]);
  }
  h = embedding_norm_->forward(h);
  return Dropout(h, config_.hidden_dropout, is_training());
}

EncoderOutput Bert::Encode(const TextInput& input, ForwardTrace* trace) {
  const torch::Tensor mask = AdditiveMask(input.attention_mask);
  const torch::Tensor tokens = input.ids.flatten();
  EncoderOutput out{Embed(input), {}};
  for (const std::shared_ptr<BertLayer>& layer : layers_) {
    const FeedForward::Output step = layer->Forward(out.hidden, mask, tokens, trace);
    out.hidden = step.y;
    if (trace != nullptr) trace->hidden.push_back(step.y);
    out.AddRegularizer(step.regularizer);
  }
  return out;
}

torch::Tensor Bert::Pool(const torch::Tensor& hidden) { return torch::tanh(pooler_->forward(hidden.select(1, 0))); }

torch::Tensor Bert::Logits(const torch::Tensor& hidden, const torch::Tensor&, const torch::Tensor& positions) {
  const auto drop = [this](const torch::Tensor& x) { return Dropout(x, config_.head.dropout, is_training()); };
  switch (config_.head.kind) {
    case HeadKind::kMaskedLm: {
      // The transform's activation is the layers' own; a tree's is the same as that of the layer it replaced.
      const Activation activation = KernelActivation(config_.feed_forward.nonlinearity);
      const torch::Tensor rows = Activate(activation, transform_->forward(RowsAt(hidden, positions)));
      return torch::linear(transform_norm_->forward(rows), words_->weight, decoder_bias_);
    }
    case HeadKind::kNone:
      return {};
    case HeadKind::kSequenceClassification: {
      const torch::Tensor pooled =
          config_.family == ModelFamily::kBert ? Pool(hidden) : torch::relu(pooler_->forward(hidden.select(1, 0)));
      return classifier_->forward(drop(pooled));
    }
    case HeadKind::kTokenClassification:
      return classifier_->forward(drop(RowsAt(hidden, positions)));
  }
  GROVE_CHECK(false);
}

std::vector<std::shared_ptr<FeedForward>> Bert::FeedForwards() const {
  std::vector<std::shared_ptr<FeedForward>> all;
  for (const auto& layer : layers_) all.push_back(layer->feed_forward());
  return all;
}

}  // namespace grove::nn
