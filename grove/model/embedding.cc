// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/embedding.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <string>
#include <utility>

#include "grove/io/bert_names.h"
#include "grove/model/read_weights.h"
#include "grove/model/row_ops.h"

namespace grove {

void SinusoidalPositions(size_t length, size_t width, float* table) {
  // Frequencies and angles in float, as the reference has them: at position 500 the rounding of the angle shows.
  const float step = static_cast<float>(-std::log(10000.0) / static_cast<double>(width));
  for (size_t pair = 0; pair < width; pair += 2) {
    const float frequency = std::exp(static_cast<float>(pair) * step);
    for (size_t position = 0; position < length; ++position) {
      const float angle = static_cast<float>(position) * frequency;
      table[position * width + pair] = std::sin(angle);
      if (pair + 1 < width) table[position * width + pair + 1] = std::cos(angle);
    }
  }
}

// Rows of positions: stored ones, or sines computed once as far as any input has reached. The limit of a sinusoidal
// model costs no memory, so a config cannot ask for more than its inputs need.
class Embedding::Positions {
 public:
  explicit Positions(AlignedArray<float> learned) : table_(std::make_shared<AlignedArray<float>>(std::move(learned))) {}
  Positions(size_t width, float scale)
      : width_(width), scale_(scale), table_(std::make_shared<AlignedArray<float>>()) {}

  // At least [length, width].
  std::shared_ptr<const AlignedArray<float>> AtLeast(size_t length) {
    const std::lock_guard lock(mutex_);
    if (width_ != 0 && table_->size() < length * width_) {
      auto table = std::make_shared<AlignedArray<float>>(length * width_);
      SinusoidalPositions(length, width_, table->data());
      for (size_t i = 0; i < table->size(); ++i) (*table)[i] *= scale_;
      table_ = std::move(table);
    }
    return table_;
  }

 private:
  size_t width_ = 0;  // 0: learned
  float scale_ = 1;
  std::mutex mutex_;
  std::shared_ptr<AlignedArray<float>> table_;
};

Embedding::Embedding() = default;
Embedding::Embedding(Embedding&&) noexcept = default;
Embedding::~Embedding() = default;

namespace {

struct Names {
  std::string words, positions, types, norm;
};

Names NamesOf(const ModelConfig& config) {
  if (config.crammed()) {
    const std::string prefix = "encoder.embedding.";
    return {prefix + "word_embedding.weight", prefix + "pos_embedding.embedding.weight", "", prefix + "norm"};
  }
  const auto name = [&](const char* of) { return BertEncoderName(config, std::string("embeddings.") + of); };
  return {name("word_embeddings.weight"), name("position_embeddings.weight"), name("token_type_embeddings.weight"),
          name("LayerNorm")};
}

// Whether a masked-LM head multiplies with the words.
bool SharesWords(const ParameterSource& source, const ModelConfig& config) {
  return config.head.kind == HeadKind::kMaskedLm && !(config.crammed() && source.Has("decoder.weight"));
}

DenseShape WordShape(const ModelConfig& config, Precision precision) {
  return {
      .in = static_cast<size_t>(config.width), .out = static_cast<size_t>(config.vocabulary), .precision = precision};
}

}  // namespace

Result<Embedding> Embedding::Load(const ParameterSource& source, const ModelConfig& config, Precision precision,
                                  const ThreadPool& pool) {
  const Names names = NamesOf(config);
  Embedding embedding;
  embedding.width_ = static_cast<size_t>(config.width);
  GROVE_ASSIGN_OR_RETURN(embedding.words_,
                         ReadWeights(source, names.words, {.shape = {config.vocabulary, config.width}}, precision));
  embedding.shape_ = WordShape(config, precision);
  if (SharesWords(source, config)) {
    embedding.packed_.emplace(embedding.shape_, embedding.words_.view(), nullptr, pool);
    embedding.words_ = {};
  }
  if (config.position == PositionKind::kLearned) {
    GROVE_ASSIGN_OR_RETURN(AlignedArray<float> table, source.Read(names.positions, {config.max_length, config.width}));
    embedding.positions_ = std::make_unique<Positions>(std::move(table));
  } else {
    float scale = 1;
    if (config.position == PositionKind::kScaledSinusoidal) {
      GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> factor,
                             source.Read("encoder.embedding.pos_embedding.scale_factor", {1}));
      scale = factor[0];
    }
    embedding.positions_ = std::make_unique<Positions>(embedding.width_, scale);
  }
  if (config.token_types > 0) {
    GROVE_ASSIGN_OR_RETURN(embedding.types_, source.Read(names.types, {config.token_types, config.width}));
  }
  if (config.embedding_norm) {
    GROVE_ASSIGN_OR_RETURN(embedding.norm_, LayerNorm::Load(source, names.norm, config.width, config.norm_eps));
  }
  return embedding;
}

DenseProduct Embedding::WordProduct(const float* bias, const ThreadPool& pool) const {
  if (packed_) return {*packed_, bias};
  return {shape_, words_.view(), bias, pool};
}

void Embedding::Forward(const PackedTokens& tokens, float* y, ThreadPool& pool) const {
  const auto positions = positions_->AtLeast(tokens.length);
  const WeightsView words = words_.view();
  pool.ParallelFor(tokens.tokens, 32, [&](size_t begin, size_t end) {
    for (size_t token = begin; token < end; ++token) {
      float* row = y + token * width_;
      const auto word = static_cast<size_t>(tokens.ids[token]);
      packed_ ? packed_->CopyWeights(word, row) : CopyRow(words, word, width_, row);
      AddInto(positions->data() + tokens.places[token] % tokens.length * width_, width_, row);
      const size_t type = tokens.types == nullptr ? 0 : tokens.types[token];
      if (types_.size() > 0) AddInto(types_.data() + type * width_, width_, row);
    }
    float* rows = y + begin * width_;
    if (norm_) norm_->ForwardHere(rows, end - begin, rows);
  });
}

}  // namespace grove
