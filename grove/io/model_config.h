// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The shape of an encoder as its config.json gives it. Two layouts, docs/model-config.md lists every key:
//
//   crammedBERT            the paper's keys under "arch", and our own keys beside them, each with a default that leaves
//                          the paper's meaning unchanged (model_config.cc)
//   BERT and DistilBERT    the keys of Hugging Face Transformers, and our object "feed_forward" (bert_config.h)
//
// What the families compute differently is asked for by name (biases(), post_norm(), ...), not by family.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grove/base/result.h"
#include "grove/base/weights.h"
#include "grove/io/feed_forward_config.h"

namespace grove {

enum class PositionKind { kLearned, kScaledSinusoidal, kSinusoidal };
enum class ModelFamily { kBert, kCrammedBert, kDistilBert };
enum class HeadKind { kMaskedLm, kNone, kSequenceClassification, kTokenClassification };
// Of the reference, which takes padding like any token, all but kMean: ours, of the tokens that are not padding.
enum class PoolerKind { kAverage, kFirstToken, kLogSumExp, kMax, kMean };

struct HeadConfig {
  HeadKind kind = HeadKind::kMaskedLm;
  bool decoder_bias = false;  // masked LM
  int64_t labels = 0;         // classification, from here on
  PoolerKind pooler = PoolerKind::kFirstToken;
  bool pooler_dense = true;                   // "include_ff_layer"; BERT with no head: the pooler's weights are there
  int64_t pooler_width = 0;                   // "head_dim"
  double dropout = 0.0;                       // BERT and DistilBERT: before the classifier
  bool regression = false;                    // the one label is a value and no class
  std::vector<std::string> label_names = {};  // by number; empty: unnamed

  bool classifies() const {
    return kind == HeadKind::kSequenceClassification || kind == HeadKind::kTokenClassification;
  }
};

struct ModelConfig {
  ModelFamily family = ModelFamily::kCrammedBert;
  int64_t vocabulary = 0;
  int64_t width = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t max_length = 0;  // longest sequence, "max_seq_length"
  int64_t pad_id = 0;
  PositionKind position = PositionKind::kScaledSinusoidal;
  bool embedding_norm = true;
  bool final_norm = true;
  double norm_eps = 1e-12;
  double hidden_dropout = 0.0;
  double attention_dropout = 0.0;  // BERT and DistilBERT; a crammedBERT's is hidden_dropout
  int64_t token_types = 0;         // rows of the token-type embedding: first and second text of a pair; 0: none
  double init_std = 0.02;
  FeedForwardConfig feed_forward;                     // of every layer, unless ...
  std::vector<FeedForwardConfig> layer_feed_forward;  // ... one a layer is here: "layer_feed_forward"
  HeadConfig head;
  // How the large matrices are stored, and computed with unless it is said otherwise: "weight_precision", which `grove
  // quantize` writes. ModelConfigJson() does not: what is trained is not quantized.
  Precision weight_precision = Precision::kFp32;

  const FeedForwardConfig& FeedForwardOf(int64_t layer) const {
    return layer_feed_forward.empty() ? feed_forward : layer_feed_forward[static_cast<size_t>(layer)];
  }

  bool crammed() const { return family == ModelFamily::kCrammedBert; }
  // h = norm(h + f(h)) in place of h = h + f(norm(h)).
  bool post_norm() const { return !crammed(); }
  // Of attention and of dense feedforward layers.
  bool biases() const { return !crammed(); }
  // The masked-LM head: norm(act(dense(hidden))) before the decoder.
  bool head_transform() const { return !crammed(); }
};

// Parses and validates. `name` stands for the file in error messages; an unknown value, a missing key, a wrong type or
// a size that overflows or is out of range is one clear sentence.
Result<ModelConfig> ParseModelConfig(std::string_view json, const std::string& name);
Result<ModelConfig> ReadModelConfig(const std::string& path);

// The config.json text of a model: readable by the paper's PyTorch classes wherever only the paper's keys are used.
std::string ModelConfigJson(const ModelConfig& config);

std::string_view ModelFamilyName(ModelFamily family);  // "BERT", "crammedBERT", "DistilBERT"
std::string_view HeadKindName(HeadKind kind);          // "masked LM", "classification", ...
// Of all layers: as of one where they are alike, else "layers 0-3: dense 1024; layer 4: none".
std::string DescribeFeedForward(const ModelConfig& config);

}  // namespace grove
