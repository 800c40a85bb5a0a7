// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/product_key.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "grove/base/scratch.h"
#include "grove/model/row_ops.h"

namespace grove {
namespace {

// Tokens whose queries and scores are in memory together.
constexpr size_t kTokens = 512;

AlignedArray<float> Copy(const float* values, size_t count) {
  AlignedArray<float> copy(count);
  std::copy_n(values, count, copy.data());
  return copy;
}

// Head by head: the normalized query, every score, the choice of that head. [heads x per_head] each.
void ChooseReference(const ProductKeyShape& shape, const ProductKeyWeights& weights, const float* x, uint32_t* chosen,
                     double* gates) {
  const size_t width = shape.key_width;
  for (size_t h = 0; h < shape.heads; ++h) {
    std::vector<double> query(width), scores[2];
    double mean = 0, variance = 0;
    for (size_t c = 0; c < width; ++c) {
      const float* row = weights.query + (h * width + c) * shape.width;
      for (size_t i = 0; i < shape.width; ++i) query[c] += double{row[i]} * x[i];
      mean += query[c] / static_cast<double>(width);
    }
    for (const double q : query) variance += (q - mean) * (q - mean) / static_cast<double>(width);
    for (size_t c = 0; c < width; ++c) {
      query[c] = (query[c] - mean) / std::sqrt(variance + double{kProductKeyNormEps}) * weights.norm_weight[c] +
                 weights.norm_bias[c];
    }
    for (size_t side = 0; side < 2; ++side) {
      scores[side].resize(shape.sub_keys);
      for (size_t k = 0; k < shape.sub_keys; ++k) {
        const float* key = weights.sub_keys + (side * shape.sub_keys + k) * shape.half();
        for (size_t c = 0; c < shape.half(); ++c) scores[side][k] += key[c] * query[side * shape.half() + c];
      }
    }
    ChooseProductKeysReference(shape.router(), scores[0].data(), scores[1].data(), 1, chosen + h * shape.per_head,
                               gates + h * shape.per_head);
  }
}

}  // namespace

// Of at most kTokens tokens; a search is one head of one token.
struct ProductKey::Scratch {
  Scratch(const ProductKeyShape& shape, size_t tokens)
      : queries(tokens * shape.heads * shape.key_width),
        halves{ScratchVector<float>(queries.size() / 2), ScratchVector<float>(queries.size() / 2)},
        scores{ScratchVector<float>(tokens * shape.heads * shape.sub_keys),
               ScratchVector<float>(tokens * shape.heads * shape.sub_keys)},
        chosen(tokens * shape.per_token()),
        gates(chosen.size()) {}
  ScratchVector<float> queries;    // [searches, key_width]
  ScratchVector<float> halves[2];  // [searches, key_width / 2]
  ScratchVector<float> scores[2];  // [searches, sub_keys]
  ScratchVector<uint32_t> chosen;  // [searches, per_head]
  ScratchVector<float> gates;
};

ProductKey::ProductKey(const ProductKeyShape& shape, const ProductKeyWeights& weights, const ThreadPool& pool)
    : shape_(shape),
      query_({.in = shape.width, .out = shape.heads * shape.key_width}, weights.query, nullptr, pool),
      norm_weight_(Copy(weights.norm_weight, shape.key_width)),
      norm_bias_(Copy(weights.norm_bias, shape.key_width)),
      first_keys_({.in = shape.half(), .out = shape.sub_keys}, weights.sub_keys, nullptr, pool),
      second_keys_({.in = shape.half(), .out = shape.sub_keys}, weights.sub_keys + shape.sub_keys * shape.half(),
                   nullptr, pool),
      neurons_(shape.neurons(), weights.neurons()) {}

void ProductKey::Normalize(Scratch& scratch, size_t searches, ThreadPool& pool) const {
  const size_t width = shape_.key_width, half = shape_.half();
  pool.ParallelFor(searches, 64, [&](size_t begin, size_t end) {
    float* rows = scratch.queries.data() + begin * width;
    NormalizeRows(rows, end - begin, width, norm_weight_.data(), norm_bias_.data(), kProductKeyNormEps, rows);
    for (size_t s = begin; s < end; ++s, rows += width) {
      std::copy_n(rows, half, scratch.halves[0].data() + s * half);
      std::copy_n(rows + half, half, scratch.halves[1].data() + s * half);
    }
  });
}

void ProductKey::Forward(const float* x, size_t tokens, float* y, ThreadPool& pool) const {
  Scratch scratch(shape_, std::min(tokens, kTokens));
  for (size_t begin = 0; begin < tokens; begin += kTokens) {
    const size_t count = std::min(kTokens, tokens - begin), searches = count * shape_.heads;
    const float* block = x + begin * shape_.width;
    query_.Forward(block, count, scratch.queries.data(), pool);
    Normalize(scratch, searches, pool);
    first_keys_.Forward(scratch.halves[0].data(), searches, scratch.scores[0].data(), pool);
    second_keys_.Forward(scratch.halves[1].data(), searches, scratch.scores[1].data(), pool);
    ChooseProductKeys(shape_.router(), scratch.scores[0].data(), scratch.scores[1].data(), searches,
                      {scratch.chosen.data(), scratch.gates.data()}, pool);
    GatheredNeuronsForward(neurons_, block, count, {scratch.chosen.data(), scratch.gates.data(), shape_.per_token()},
                           y + begin * shape_.width, pool);
  }
}

size_t ProductKey::bytes() const {
  const size_t router =
      shape_.heads * shape_.key_width * shape_.width + 2 * shape_.key_width + 2 * shape_.sub_keys * shape_.half();
  return neurons_.bytes() + router * sizeof(float);
}

void ProductKeyReference(const ProductKeyShape& shape, const ProductKeyWeights& weights, const float* x, size_t tokens,
                         float* y) {
  const size_t n = shape.per_token();
  std::vector<uint32_t> chosen(tokens * n);
  std::vector<double> gates(chosen.size());
  for (size_t t = 0; t < tokens; ++t) {
    ChooseReference(shape, weights, x + t * shape.width, chosen.data() + t * n, gates.data() + t * n);
  }
  GatheredNeuronsReference(shape.neurons(), weights.neurons(), x, tokens, chosen.data(), gates.data(), n, y);
}

}  // namespace grove
