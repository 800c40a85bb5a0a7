// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// BERT (arXiv 1810.04805) and DistilBERT (arXiv 1910.01108) with the parameter names of Hugging Face Transformers:
//
//   h = norm(word[ids] + position + type[token_types])          DistilBERT has no types
//   h = norm(h + attention(h));  h = norm(h + feed_forward(h))  per block; the second only if there is a layer
//
// Heads: masked LM (transform, tied decoder), sequence and token classification, or none. A tree in place of the dense
// layer has its parameters under "feed_forward" of the block (DistilBERT: "ffn").
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grove/io/bert_names.h"
#include "grove/nn/text_model.h"

namespace grove::nn {

class BertLayer;

class Bert final : public TextModel {
 public:
  Bert(const ModelConfig& config, const ModuleOptions& options);
  ~Bert() override;

  EncoderOutput Encode(const TextInput& input, ForwardTrace* trace) override;
  torch::Tensor Logits(const torch::Tensor& hidden, const torch::Tensor& attention_mask,
                       const torch::Tensor& positions) override;
  std::vector<std::shared_ptr<FeedForward>> FeedForwards() const override;

  // tanh(dense(first token)), [batch, width]. BERT only, where the pooler is there.
  torch::Tensor Pool(const torch::Tensor& hidden);

 private:
  void MakeEmbedding();
  void MakeHead();
  torch::Tensor Embed(const TextInput& input);
  std::string Base(const std::string& name) const;  // with the encoder's prefix, "bert." unless there is no head

  ModelConfig config_;
  torch::nn::Embedding words_{nullptr}, positions_{nullptr}, types_{nullptr};
  torch::nn::LayerNorm embedding_norm_{nullptr}, transform_norm_{nullptr};
  std::vector<std::shared_ptr<BertLayer>> layers_;
  torch::nn::Linear pooler_{nullptr};      // BERT; DistilBERT's classifier: pre_classifier
  torch::nn::Linear transform_{nullptr};   // masked LM
  torch::nn::Linear classifier_{nullptr};  // sequence and token classification
  torch::Tensor decoder_bias_;             // masked LM
};

using grove::StoredBertName;

}  // namespace grove::nn
