// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/heads.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "grove/base/check.h"
#include "grove/io/bert_names.h"
#include "grove/model/read_weights.h"
#include "grove/model/row_ops.h"

namespace grove {

namespace {

// Memory of the calling thread that survives from call to call.
float* ThreadScratch(size_t size) {
  thread_local AlignedArray<float> scratch;
  return AtLeast(scratch, size);  // NOLINT(clang-analyzer-cplusplus.NewDelete): misreads the move of unique_ptr
}

// The linear layer "<name>.weight" and "<name>.bias".
Result<DenseProduct> ReadLinear(const ParameterSource& source, const std::string& name, const DenseShape& shape,
                                const ThreadPool& pool) {
  const auto in = static_cast<int64_t>(shape.in), out = static_cast<int64_t>(shape.out);
  GROVE_ASSIGN_OR_RETURN(const Weights weight,
                         ReadWeights(source, name + ".weight", {.shape = {out, in}}, shape.precision));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> bias, source.Read(name + ".bias", {out}));
  return DenseProduct(shape, weight.view(), bias.data(), pool);
}

// Of poolers and classifiers, which are fp32 in every precision; with an int8 encoder they give the same bits on every
// target, as it does.
DenseShape SmallShape(const Encoder& encoder, int64_t in, int64_t out) {
  return {
      .in = static_cast<size_t>(in), .out = static_cast<size_t>(out), .exact = encoder.precision() == Precision::kInt8};
}

// Parameters of the masked-LM head; empty: there is none.
struct MaskedLmNames {
  std::string transform, norm, decoder, bias;
};

MaskedLmNames MaskedLmNamesOf(const ModelConfig& config) {
  switch (config.family) {
    case ModelFamily::kBert:
      return {"cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "", "cls.predictions.bias"};
    case ModelFamily::kCrammedBert:
      return {"", "", "decoder.weight", config.head.decoder_bias ? "decoder.bias" : ""};
    case ModelFamily::kDistilBert:
      return {"vocab_transform", "vocab_layer_norm", "", "vocab_projector.bias"};
  }
  GROVE_CHECK(false);
}

}  // namespace

Result<MaskedLmHead> MaskedLmHead::Load(const ParameterSource& source, const Encoder& encoder) {
  const ModelConfig& config = encoder.config();
  const MaskedLmNames names = MaskedLmNamesOf(config);
  const Precision precision = encoder.precision();
  const DenseShape shape{
      .in = static_cast<size_t>(config.width), .out = static_cast<size_t>(config.vocabulary), .precision = precision};
  Weights own;
  AlignedArray<float> bias;
  if (!names.decoder.empty() && source.Has(names.decoder)) {
    GROVE_ASSIGN_OR_RETURN(own,
                           ReadWeights(source, names.decoder, {.shape = {config.vocabulary, config.width}}, precision));
  }
  if (!names.bias.empty()) {
    GROVE_ASSIGN_OR_RETURN(bias, source.Read(names.bias, {config.vocabulary}));
  }
  MaskedLmHead head(own.empty() ? encoder.embedding().WordProduct(bias.data(), encoder.pool())
                                : DenseProduct(shape, own.view(), bias.data(), encoder.pool()));
  if (names.transform.empty()) return head;
  const bool relu = config.feed_forward.nonlinearity == NonLinearity::kRelu;
  const DenseShape transform{.in = shape.in,
                             .out = shape.in,
                             .activation = relu ? DenseActivation::kRelu : DenseActivation::kGelu,
                             .precision = precision};
  GROVE_ASSIGN_OR_RETURN(head.transform_, ReadLinear(source, names.transform, transform, encoder.pool()));
  GROVE_ASSIGN_OR_RETURN(head.norm_, LayerNorm::Load(source, names.norm, config.width, config.norm_eps));
  return head;
}

void MaskedLmHead::Forward(const float* hidden, size_t rows, float* logits, ThreadPool& pool) const {
  if (!transform_) return decoder_.Forward(hidden, rows, logits, pool);
  float* changed = ThreadScratch(rows * transform_->shape().out);
  transform_->Forward(hidden, rows, changed, pool);
  norm_->Forward(changed, rows, changed, pool);
  decoder_.Forward(changed, rows, logits, pool);
}

namespace {

// `mask` [length]; empty: no padding. A sequence that is all padding counts as unmasked, as in the encoder.
void MeanOfTokens(const float* hidden, std::span<const uint8_t> mask, size_t length, size_t width, float* pooled) {
  if (std::ranges::all_of(mask, [](uint8_t token) { return token == 0; })) mask = {};
  std::fill_n(pooled, width, 0.0f);
  size_t tokens = 0;
  for (size_t t = 0; t < length; ++t) {
    if (!mask.empty() && mask[t] == 0) continue;
    AddInto(hidden + t * width, width, pooled);
    ++tokens;
  }
  for (size_t i = 0; i < width; ++i) pooled[i] /= static_cast<float>(tokens);
}

void PoolSequence(PoolerKind kind, const float* hidden, size_t length, size_t width, float* pooled) {
  std::copy_n(hidden, width, pooled);
  if (kind == PoolerKind::kFirstToken) return;
  if (kind == PoolerKind::kAverage) {
    for (size_t t = 1; t < length; ++t) AddInto(hidden + t * width, width, pooled);
    for (size_t i = 0; i < width; ++i) pooled[i] /= static_cast<float>(length);
    return;
  }
  for (size_t t = 1; t < length; ++t) {
    for (size_t i = 0; i < width; ++i) pooled[i] = std::max(pooled[i], hidden[t * width + i]);
  }
  if (kind == PoolerKind::kMax) return;
  // log(sum(exp(x))), the largest x taken out so that nothing overflows.
  for (size_t i = 0; i < width; ++i) {
    float sum = 0;
    for (size_t t = 0; t < length; ++t) sum += std::exp(hidden[t * width + i] - pooled[i]);
    pooled[i] += std::log(sum);
  }
}

}  // namespace

void Pool(PoolerKind kind, const float* hidden, const TokenBatch& batch, size_t width, float* pooled) {
  const size_t length = batch.length;
  GROVE_CHECK(length > 0);
  for (size_t b = 0; b < batch.batch; ++b, hidden += length * width, pooled += width) {
    if (kind == PoolerKind::kMean) {
      const auto mask = batch.mask.empty() ? batch.mask : batch.mask.subspan(b * length, length);
      MeanOfTokens(hidden, mask, length, width, pooled);
    } else {
      PoolSequence(kind, hidden, length, width, pooled);
    }
  }
}

Result<FirstTokenPooler> FirstTokenPooler::Load(const ParameterSource& source, const Encoder& encoder) {
  const ModelConfig& config = encoder.config();
  const std::string name = BertEncoderName(config, "pooler.dense");
  GROVE_ASSIGN_OR_RETURN(DenseProduct dense,
                         ReadLinear(source, name, SmallShape(encoder, config.width, config.width), encoder.pool()));
  return FirstTokenPooler(std::move(dense));
}

void FirstTokenPooler::Forward(const float* hidden, const TokenBatch& batch, float* pooled, ThreadPool& pool) const {
  const size_t width = dense_.shape().in;
  float* first = ThreadScratch(batch.batch * width);
  Pool(PoolerKind::kFirstToken, hidden, batch, width, first);
  dense_.Forward(first, batch.batch, pooled, pool);
  for (size_t i = 0; i < batch.batch * width; ++i) pooled[i] = std::tanh(pooled[i]);
}

Result<ClassificationHead> ClassificationHead::Load(const ParameterSource& source, const Encoder& encoder) {
  const ModelConfig& config = encoder.config();
  const HeadConfig& head = config.head;
  const std::string dense_name = config.crammed()                            ? "pooler.dense"
                                 : config.family == ModelFamily::kDistilBert ? "pre_classifier"
                                                                             : BertEncoderName(config, "pooler.dense");
  std::optional<DenseProduct> dense;
  if (head.pooler_dense) {
    GROVE_ASSIGN_OR_RETURN(
        dense, ReadLinear(source, dense_name, SmallShape(encoder, config.width, head.pooler_width), encoder.pool()));
  }
  GROVE_ASSIGN_OR_RETURN(DenseProduct linear,
                         ReadLinear(source, config.crammed() ? "head" : "classifier",
                                    SmallShape(encoder, head.pooler_width, head.labels), encoder.pool()));
  return ClassificationHead(config, std::move(dense), std::move(linear));
}

void ClassificationHead::Forward(const float* hidden, const TokenBatch& input, float* logits, ThreadPool& pool) const {
  const size_t batch = input.batch;
  const size_t width = dense_ ? dense_->shape().in : linear_.shape().in;
  const size_t inner = linear_.shape().in;
  float* pooled = ThreadScratch(batch * (width + inner));
  Pool(pooler_, hidden, input, width, pooled);
  if (dense_) {
    float* activated = pooled + batch * width;
    dense_->Forward(pooled, batch, activated, pool);
    pooled = activated;
  }
  for (size_t i = 0; i < batch * inner; ++i) pooled[i] = relu_ ? std::max(pooled[i], 0.0f) : std::tanh(pooled[i]);
  linear_.Forward(pooled, batch, logits, pool);
}

Result<TokenClassificationHead> TokenClassificationHead::Load(const ParameterSource& source, const Encoder& encoder) {
  const ModelConfig& config = encoder.config();
  GROVE_ASSIGN_OR_RETURN(DenseProduct linear,
                         ReadLinear(source, config.crammed() ? "head" : "classifier",
                                    SmallShape(encoder, config.width, config.head.labels), encoder.pool()));
  return TokenClassificationHead(std::move(linear));
}

void TokenClassificationHead::Forward(const float* hidden, size_t rows, float* logits, ThreadPool& pool) const {
  linear_.Forward(hidden, rows, logits, pool);
}

}  // namespace grove
