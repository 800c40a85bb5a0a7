// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/random_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "grove/io/files.h"

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

void AddFeedForward(Maker& make, const std::string& prefix, const FeedForwardConfig& layer, int64_t width) {
  const double spread = 1.0 / std::sqrt(static_cast<double>(width));
  const int64_t neurons = layer.StoredNeurons();
  if (layer.kind == FeedForwardKind::kDense) {
    make.Add(prefix + "dense_in.weight", {neurons, width}, spread);
    const int64_t used = layer.nonlinearity == NonLinearity::kGeluGlu ? neurons / 2 : neurons;
    make.Add(prefix + "dense_out.weight", {width, used}, spread);
  } else if (layer.kind == FeedForwardKind::kNeuronTree) {
    make.Add(prefix + "linear_in.weight", {neurons, width}, spread);
    make.Add(prefix + "linear_in.bias", {neurons}, 0.3);
    make.Add(prefix + "linear_out.weight", {width, neurons}, spread);
    if (layer.two_sided) make.Add(prefix + "linear_out_left.weight", {width, neurons}, spread);
  } else if (layer.kind == FeedForwardKind::kLeafTree) {
    const int64_t leaves = int64_t{1} << layer.depth;
    make.Add(prefix + "node_weights", {leaves - 1, width}, spread);
    make.Add(prefix + "node_biases", {leaves - 1, 1}, 0.3);
    make.Add(prefix + "w1s", {leaves, width, layer.leaf_width}, spread);
    make.Add(prefix + "b1s", {leaves, layer.leaf_width}, 0.3);
    make.Add(prefix + "w2s", {leaves, layer.leaf_width, width}, 0.3);
    make.Add(prefix + "b2s", {leaves, width}, 0.3);
  }
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
    if (config.feed_forward.kind == FeedForwardKind::kNone) continue;
    make.AddNorm(prefix + "norm2", width);
    AddFeedForward(make, prefix + "ffn.", config.feed_forward, width);
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

double PlainModel::Activation(double x) const {
  if (config_.feed_forward.nonlinearity == NonLinearity::kRelu) return std::max(x, 0.0);
  return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
}

PlainModel::Vector PlainModel::Dense(const std::string& prefix, const Vector& x) const {
  Vector hidden = Multiply(prefix + "dense_in.weight", x);
  if (config_.feed_forward.nonlinearity == NonLinearity::kGeluGlu) {
    const size_t half = hidden.size() / 2;
    for (size_t i = 0; i < half; ++i) hidden[i] *= Activation(hidden[half + i]);
    hidden.resize(half);
  } else {
    for (double& v : hidden) v = Activation(v);
  }
  return Multiply(prefix + "dense_out.weight", hidden);
}

PlainModel::Vector PlainModel::NeuronTrees(const std::string& prefix, const Vector& x) const {
  const FeedForwardConfig& layer = config_.feed_forward;
  const Vector logits = Multiply(prefix + "linear_in.weight", x);
  const size_t nodes = logits.size(), per_tree = nodes / static_cast<size_t>(layer.trees);
  Vector y(x.size());
  for (size_t tree = 0; tree < nodes; tree += per_tree) {
    size_t node = 0;
    for (int64_t level = 0; level <= layer.depth; ++level) {
      const double l = logits[tree + node] + Tensor(prefix + "linear_in.bias").values[tree + node];
      for (size_t o = 0; o < y.size(); ++o) {
        y[o] += Activation(l) * Tensor(prefix + "linear_out.weight").values[o * nodes + tree + node];
        if (!layer.two_sided) continue;
        y[o] += Activation(-l) * Tensor(prefix + "linear_out_left.weight").values[o * nodes + tree + node];
      }
      node = 2 * node + (l > 0 ? 2 : 1);
    }
  }
  return y;
}

PlainModel::Vector PlainModel::LeafTree(const std::string& prefix, const Vector& x) const {
  const FeedForwardConfig& layer = config_.feed_forward;
  const size_t leaves = size_t{1} << layer.depth, width = static_cast<size_t>(layer.leaf_width);
  const Vector logits = Multiply(prefix + "node_weights", x);
  std::vector<std::pair<double, size_t>> chosen;  // probability, leaf
  for (size_t leaf = 0; leaf < leaves; ++leaf) {
    double probability = 1;
    for (size_t node = leaf + leaves - 1; node != 0; node = (node - 1) / 2) {
      const size_t above = (node - 1) / 2;
      const double l = layer.decision_scale * (logits[above] + Tensor(prefix + "node_biases").values[above]);
      probability *= 1 / (1 + std::exp(node == 2 * above + 2 ? -l : l));
    }
    chosen.emplace_back(probability, leaf);
  }
  std::sort(chosen.rbegin(), chosen.rend());
  if (layer.paths == 1) {  // the decided path, which need not end at the most probable leaf
    size_t node = 0;
    while (node < leaves - 1)
      node = 2 * node + (logits[node] + Tensor(prefix + "node_biases").values[node] > 0 ? 2 : 1);
    chosen = {{1, node - (leaves - 1)}};
  }
  chosen.resize(static_cast<size_t>(layer.paths));
  double total = 0;
  for (const auto& [probability, leaf] : chosen) total += probability;
  Vector y(x.size());
  for (const auto& [probability, leaf] : chosen) {
    for (size_t j = 0; j < width; ++j) {
      double hidden = Tensor(prefix + "b1s").values[leaf * width + j];
      for (size_t i = 0; i < x.size(); ++i) {
        hidden += x[i] * Tensor(prefix + "w1s").values[(leaf * x.size() + i) * width + j];
      }
      const double gated = Activation(hidden) * probability / total;
      for (size_t o = 0; o < y.size(); ++o) {
        y[o] += gated * Tensor(prefix + "w2s").values[(leaf * width + j) * y.size() + o];
      }
    }
    for (size_t o = 0; o < y.size(); ++o) {
      y[o] += probability / total * Tensor(prefix + "b2s").values[leaf * y.size() + o];
    }
  }
  return y;
}

PlainModel::Vector PlainModel::FeedForward(const std::string& prefix, const Vector& x) const {
  if (config_.feed_forward.kind == FeedForwardKind::kDense) return Dense(prefix, x);
  if (config_.feed_forward.kind == FeedForwardKind::kNeuronTree) return NeuronTrees(prefix, x);
  return LeafTree(prefix, x);
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
      if (config_.feed_forward.kind == FeedForwardKind::kNone) continue;
      add(x[t], FeedForward(prefix + "ffn.", Norm(prefix + "norm2", x[t])));
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

PlainModel::Vector PlainModel::Classify(const Rows& hidden) const {
  Vector pooled = hidden[0];
  for (size_t i = 0; i < pooled.size() && config_.head.pooler != PoolerKind::kFirstToken; ++i) {
    double sum = 0, exponentials = 0, largest = hidden[0][i];
    for (const Vector& row : hidden) {
      sum += row[i];
      exponentials += std::exp(row[i]);
      largest = std::max(largest, row[i]);
    }
    pooled[i] = config_.head.pooler == PoolerKind::kAverage ? sum / static_cast<double>(hidden.size())
                : config_.head.pooler == PoolerKind::kMax   ? largest
                                                            : std::log(exponentials);
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
