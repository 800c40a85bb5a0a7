// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/random_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "grove/io/files.h"
#include "grove/model/plain_feed_forward.h"

namespace grove::test {
namespace {

class Maker {
 public:
  explicit Maker(uint32_t seed) : random_(seed) {}

  // Normal values around `mean`.
  void Add(const std::string& name, Shape shape, double spread, double mean = 0) {
    size_t size = 1;
    for (const int64_t extent : shape) size *= static_cast<size_t>(extent);
    std::vector<float> values(size);
    std::normal_distribution<double> normal(mean, spread);
    for (float& value : values) value = static_cast<float>(normal(random_));
    tensors[name] = {std::move(shape), std::move(values)};
  }
  void AddNorm(const std::string& prefix, int64_t width) {
    Add(prefix + ".weight", {width}, 0.2, 1.0);
    Add(prefix + ".bias", {width}, 0.2);
  }

  RandomTensors tensors;

 private:
  std::mt19937 random_;
};

void AddExperts(Maker& make, const std::string& prefix, int64_t experts, int64_t hidden, int64_t width) {
  make.Add(prefix + "w1s", {experts, width, hidden}, 1.0 / std::sqrt(static_cast<double>(width)));
  make.Add(prefix + "b1s", {experts, hidden}, 0.3);
  make.Add(prefix + "w2s", {experts, hidden, width}, 0.3);
  make.Add(prefix + "b2s", {experts, width}, 0.3);
}

void AddNeuronTree(Maker& make, const std::string& prefix, const FeedForwardConfig& layer, int64_t width) {
  const double spread = 1.0 / std::sqrt(static_cast<double>(width));
  const int64_t inner = layer.trees * ((int64_t{1} << layer.depth) - 1), neurons = 2 * inner + layer.trees;
  make.Add(prefix + "linear_in.weight", {neurons, width}, spread);
  make.Add(prefix + "linear_in.bias", {neurons}, 0.3);
  make.Add(prefix + "linear_out.weight", {width, neurons}, spread);
  if (layer.two_sided) make.Add(prefix + "linear_out_left.weight", {width, neurons}, spread);
  if (layer.routing == TreeRouting::kRandom) make.Add(prefix + "decision_planes", {inner, width}, spread);
}

void AddProductKey(Maker& make, const std::string& prefix, const FeedForwardConfig& layer, int64_t width) {
  const double spread = 1.0 / std::sqrt(static_cast<double>(width));
  const int64_t neurons = layer.sub_keys * layer.sub_keys;
  make.Add(prefix + "query.weight", {layer.key_heads * layer.key_width, width}, spread);
  make.AddNorm(prefix + "query_norm", layer.key_width);
  make.Add(prefix + "sub_keys", {2, layer.sub_keys, layer.key_width / 2}, 0.7);
  make.Add(prefix + "neurons_in", {neurons, width}, spread);
  make.Add(prefix + "neurons_out", {neurons, width}, spread);
}

void AddDense(Maker& make, const std::string& prefix, const FeedForwardConfig& layer, int64_t width) {
  const double spread = 1.0 / std::sqrt(static_cast<double>(width));
  const bool glu = layer.nonlinearity == NonLinearity::kGeluGlu;
  make.Add(prefix + "dense_in.weight", {layer.intermediate, width}, spread);
  make.Add(prefix + "dense_out.weight", {width, glu ? layer.intermediate / 2 : layer.intermediate}, spread);
}

void AddFeedForward(Maker& make, const std::string& prefix, const FeedForwardConfig& layer, int64_t width) {
  const double spread = 1.0 / std::sqrt(static_cast<double>(width));
  switch (layer.kind) {
    case FeedForwardKind::kDense:
      AddDense(make, prefix, layer, width);
      break;
    case FeedForwardKind::kLeafTree: {
      const int64_t leaves = layer.trees << layer.depth;
      make.Add(prefix + "node_weights", {leaves - layer.trees, width}, spread);
      make.Add(prefix + "node_biases", {leaves - layer.trees, 1}, 0.3);
      AddExperts(make, prefix, leaves, layer.leaf_width, width);
      break;
    }
    case FeedForwardKind::kMoe:
      make.Add(prefix + "router.weight", {layer.experts, width}, spread);
      if (layer.router == RouterKind::kNoisyTopK) make.Add(prefix + "router_noise.weight", {layer.experts, width}, 1.0);
      AddExperts(make, prefix, layer.experts, layer.expert_width, width);
      break;
    case FeedForwardKind::kNeuronTree:
      AddNeuronTree(make, prefix, layer, width);
      break;
    case FeedForwardKind::kNone:
      break;
    case FeedForwardKind::kProductKey:
      AddProductKey(make, prefix, layer, width);
      break;
  }
  if (!layer.conditional() || layer.always_on == 0) return;
  make.Add(prefix + "always_on_in.weight", {layer.always_on, width}, spread);
  make.Add(prefix + "always_on_out.weight", {width, layer.always_on}, spread);
}

void AddClassificationHead(Maker& make, const ModelConfig& config) {
  const HeadConfig& head = config.head;
  if (head.pooler_dense) {
    make.Add("pooler.dense.weight", {head.pooler_width, config.width}, 0.3);
    make.Add("pooler.dense.bias", {head.pooler_width}, 0.3);
  }
  make.Add("head.weight", {head.labels, head.pooler_width}, 0.3);
  make.Add("head.bias", {head.labels}, 0.3);
}

}  // namespace

ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocabulary = 40;
  config.width = 20;  // no multiple of a vector
  config.layers = 2;
  config.heads = 4;
  config.max_length = 24;
  config.norm_eps = 1e-6;
  config.feed_forward = {.kind = FeedForwardKind::kDense, .intermediate = 36};
  return config;
}

RandomTensors MakeRandomTensors(const ModelConfig& config, uint32_t seed) {
  Maker make(seed);
  const int64_t width = config.width;
  const std::string embedding = "encoder.embedding.";
  make.Add(embedding + "word_embedding.weight", {config.vocabulary, width}, 0.7);
  if (config.position == PositionKind::kLearned) {
    make.Add(embedding + "pos_embedding.embedding.weight", {config.max_length, width}, 0.5);
  } else if (config.position == PositionKind::kScaledSinusoidal) {
    make.Add(embedding + "pos_embedding.scale_factor", {1}, 0.1, 0.5);
  }
  if (config.embedding_norm) make.AddNorm(embedding + "norm", width);
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string prefix = "encoder.layers." + std::to_string(i) + ".";
    make.AddNorm(prefix + "norm1", width);
    make.Add(prefix + "attn.self_attention.query_key_value.weight", {3 * width, width}, 0.3);
    make.Add(prefix + "attn.dense.weight", {width, width}, 0.2);
    const FeedForwardConfig& feed_forward = config.FeedForwardOf(i);
    if (feed_forward.kind == FeedForwardKind::kNone) continue;
    make.AddNorm(prefix + "norm2", width);
    AddFeedForward(make, prefix + "ffn.", feed_forward, width);
  }
  if (config.final_norm) make.AddNorm("encoder.final_norm", width);
  if (config.head.kind == HeadKind::kSequenceClassification) {
    AddClassificationHead(make, config);
  } else if (config.head.decoder_bias) {
    make.Add("decoder.bias", {config.vocabulary}, 0.5);
  }
  return std::move(make.tensors);
}

void WriteModel(const std::string& folder, const ModelConfig& config, const RandomTensors& tensors) {
  TensorMap views;
  for (const auto& [name, tensor] : tensors) views[name] = ViewOf(tensor.values, tensor.shape);
  ASSERT_TRUE(WriteTextFile(folder + "/config.json", ModelConfigJson(config)).ok());
  ASSERT_TRUE(WriteSafetensors(folder + "/model.safetensors", views, {}).ok());
}

PlainModel::Vector PlainModel::Multiply(const std::string& name, const Vector& x) const {
  const RandomTensor& weight = Tensor(name);
  Vector y(static_cast<size_t>(weight.shape[0]));
  for (size_t o = 0; o < y.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) y[o] += weight.values[o * x.size() + i] * x[i];
  }
  return y;
}

PlainModel::Vector PlainModel::Norm(const std::string& prefix, const Vector& x) const {
  const auto n = static_cast<double>(x.size());
  double mean = 0, variance = 0;
  for (const double v : x) mean += v / n;
  for (const double v : x) variance += (v - mean) * (v - mean) / n;
  Vector y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    y[i] = (x[i] - mean) / std::sqrt(variance + config_.norm_eps) * Tensor(prefix + ".weight").values[i] +
           Tensor(prefix + ".bias").values[i];
  }
  return y;
}

PlainModel::Rows PlainModel::Attention(const std::string& prefix, const Rows& x,
                                       const std::vector<uint8_t>& mask) const {
  const auto heads = static_cast<size_t>(config_.heads);
  const size_t width = x[0].size(), head_width = width / heads;
  Rows qkv, mixed(x.size(), Vector(width));
  for (const Vector& row : x) qkv.push_back(Multiply(prefix + "self_attention.query_key_value.weight", row));
  for (size_t h = 0; h < heads; ++h) {
    const size_t q = h * 3 * head_width, k = q + head_width, v = k + head_width;
    for (size_t t = 0; t < x.size(); ++t) {
      Vector weights(x.size());
      double sum = 0;
      for (size_t s = 0; s < x.size(); ++s) {
        double score = mask[s] != 0 ? 0 : -10000;
        for (size_t i = 0; i < head_width; ++i) {
          score += qkv[t][q + i] * qkv[s][k + i] / std::sqrt(static_cast<double>(head_width));
        }
        sum += weights[s] = std::exp(score);
      }
      for (size_t s = 0; s < x.size(); ++s) {
        for (size_t i = 0; i < head_width; ++i) mixed[t][h * head_width + i] += weights[s] / sum * qkv[s][v + i];
      }
    }
  }
  for (Vector& row : mixed) row = Multiply(prefix + "dense.weight", row);
  return mixed;
}

double PlainModel::Position(size_t token, size_t column) const {
  const std::string prefix = "encoder.embedding.pos_embedding.";
  const auto width = static_cast<size_t>(config_.width);
  if (config_.position == PositionKind::kLearned) {
    return Tensor(prefix + "embedding.weight").values[token * width + column];
  }
  const size_t even = column - column % 2;
  const double exponent = static_cast<double>(even) / static_cast<double>(width);
  const double angle = static_cast<double>(token) * std::pow(10000.0, -exponent);
  const double value = column % 2 == 0 ? std::sin(angle) : std::cos(angle);
  const bool scaled = config_.position == PositionKind::kScaledSinusoidal;
  return scaled ? value * Tensor(prefix + "scale_factor").values[0] : value;
}

PlainModel::Rows PlainModel::Hidden(const std::vector<int32_t>& ids, const std::vector<uint8_t>& mask) const {
  const auto width = static_cast<size_t>(config_.width);
  const auto add = [](Vector& x, const Vector& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  };
  Rows x(ids.size(), Vector(width));
  for (size_t t = 0; t < ids.size(); ++t) {
    for (size_t i = 0; i < width; ++i) {
      const auto word = static_cast<size_t>(ids[t]);
      x[t][i] = Tensor("encoder.embedding.word_embedding.weight").values[word * width + i] + Position(t, i);
    }
    if (config_.embedding_norm) x[t] = Norm("encoder.embedding.norm", x[t]);
  }
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    const std::string prefix = "encoder.layers." + std::to_string(layer) + ".";
    Rows normed;
    for (const Vector& row : x) normed.push_back(Norm(prefix + "norm1", row));
    const Rows mixed = Attention(prefix + "attn.", normed, mask);
    for (size_t t = 0; t < x.size(); ++t) {
      add(x[t], mixed[t]);
      const FeedForwardConfig& layer_config = config_.FeedForwardOf(layer);
      if (layer_config.kind == FeedForwardKind::kNone) continue;
      const PlainFeedForward feed_forward(layer_config, tensors_, prefix + "ffn.", layer);
      add(x[t], feed_forward.Forward(Norm(prefix + "norm2", x[t]), ids[t]));
    }
  }
  if (config_.final_norm) {
    for (Vector& row : x) row = Norm("encoder.final_norm", row);
  }
  return x;
}

PlainModel::Rows PlainModel::MaskedLmLogits(const Rows& hidden) const {
  Rows logits;
  for (const Vector& row : hidden) {
    logits.push_back(Multiply("encoder.embedding.word_embedding.weight", row));
    if (!config_.head.decoder_bias) continue;
    for (size_t i = 0; i < logits.back().size(); ++i) logits.back()[i] += Tensor("decoder.bias").values[i];
  }
  return logits;
}

PlainModel::Vector PlainModel::Classify(const Rows& padded, const std::vector<uint8_t>& mask) const {
  Rows hidden;
  for (size_t t = 0; t < padded.size(); ++t) {
    if (config_.head.pooler != PoolerKind::kMean || mask[t] != 0) hidden.push_back(padded[t]);
  }
  Vector pooled = hidden[0];
  for (size_t i = 0; i < pooled.size() && config_.head.pooler != PoolerKind::kFirstToken; ++i) {
    double sum = 0, exponentials = 0, largest = hidden[0][i];
    for (const Vector& row : hidden) {
      sum += row[i];
      exponentials += std::exp(row[i]);
      largest = std::max(largest, row[i]);
    }
    const PoolerKind kind = config_.head.pooler;
    pooled[i] = kind == PoolerKind::kMax         ? largest
                : kind == PoolerKind::kLogSumExp ? std::log(exponentials)
                                                 : sum / static_cast<double>(hidden.size());
  }
  const auto affine = [&](const std::string& name, const Vector& x) {
    Vector y = Multiply(name + ".weight", x);
    for (size_t i = 0; i < y.size(); ++i) y[i] += Tensor(name + ".bias").values[i];
    return y;
  };
  if (config_.head.pooler_dense) pooled = affine("pooler.dense", pooled);
  for (double& v : pooled) v = std::tanh(v);
  return affine("head", pooled);
}

}  // namespace grove::test
