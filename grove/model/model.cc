// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/model.h"

#include <algorithm>
#include <span>
#include <utility>

#include "grove/base/check.h"

namespace grove {
namespace {

Result<Tokenizer> LoadTokenizer(const ModelDirectory& directory) {
  if (directory.tokenizer_path.empty()) {
    return Error(ErrorCode::kNotFound, directory.path +
                                           " has neither tokenizer.json nor vocab.txt; add the tokenizer "
                                           "that the model was trained with");
  }
  GROVE_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(directory.tokenizer_path));
  const auto words = static_cast<size_t>(directory.config.vocabulary);
  if (tokenizer.vocabulary_size() > words) {
    return Error(ErrorCode::kInvalidArgument, directory.tokenizer_path + " has " +
                                                  std::to_string(tokenizer.vocabulary_size()) +
                                                  " tokens and the model only " + std::to_string(words) +
                                                  "; use the tokenizer that belongs to the model");
  }
  return tokenizer;
}

Status LoadHead(const ParameterSource& source, LoadedModel& model) {
  const ModelConfig& config = model.config();
  switch (config.head.kind) {
    case HeadKind::kMaskedLm: {
      GROVE_ASSIGN_OR_RETURN(model.masked_lm, MaskedLmHead::Load(source, model.encoder));
      return Ok{};
    }
    case HeadKind::kNone: {
      if (config.family != ModelFamily::kBert || !config.head.pooler_dense) return Ok{};
      GROVE_ASSIGN_OR_RETURN(model.pooler, FirstTokenPooler::Load(source, model.encoder));
      return Ok{};
    }
    case HeadKind::kSequenceClassification: {
      GROVE_ASSIGN_OR_RETURN(model.classifier, ClassificationHead::Load(source, model.encoder));
      return Ok{};
    }
    case HeadKind::kTokenClassification: {
      GROVE_ASSIGN_OR_RETURN(model.token_classifier, TokenClassificationHead::Load(source, model.encoder));
      return Ok{};
    }
  }
  GROVE_CHECK(false);
}

}  // namespace

namespace {

Result<LoadedModel> LoadFrom(const ModelDirectory& directory, const ParameterSource& source, ThreadPool* pool,
                             const EncoderOptions& options) {
  GROVE_ASSIGN_OR_RETURN(Encoder encoder, Encoder::Load(source, directory.config, pool, options));
  LoadedModel model{.path = directory.path, .tokenizer = {}, .encoder = std::move(encoder)};
  GROVE_RETURN_IF_ERROR(LoadHead(source, model));
  return model;
}

}  // namespace

Result<LoadedModel> LoadModel(const std::string& path, ThreadPool* pool, const LoadOptions& options) {
  GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(path));
  std::optional<Tokenizer> tokenizer;
  if (options.tokenizer) {
    GROVE_ASSIGN_OR_RETURN(tokenizer, LoadTokenizer(directory));
  }
  const FileParameters source(directory.weights, directory.config);
  GROVE_ASSIGN_OR_RETURN(LoadedModel model, LoadFrom(directory, source, pool, options.encoder));
  model.tokenizer = std::move(tokenizer);
  return model;
}

Status LoadParameters(const ModelDirectory& directory, const ParameterSource& source, ThreadPool* pool,
                      const EncoderOptions& options) {
  const Result<LoadedModel> model = LoadFrom(directory, source, pool, options);
  return model.ok() ? Status(Ok{}) : model.error();
}

Shape LogitsShape(const ModelConfig& config, int64_t batch, int64_t length) {
  switch (config.head.kind) {
    case HeadKind::kMaskedLm:
      return {batch, length, config.vocabulary};
    case HeadKind::kNone:
      return {};
    case HeadKind::kSequenceClassification:
      return {batch, config.head.labels};
    case HeadKind::kTokenClassification:
      return {batch, length, config.head.labels};
  }
  GROVE_CHECK(false);
}

namespace {

// Poolers of crammedBERT take padding like any token; the first place, which others read, may be padding too.
bool HeadReadsPadding(const LoadedModel& model, const TokenBatch& batch) {
  if (batch.mask.empty() || (!model.classifier && !model.pooler)) return false;
  const PoolerKind pooler = model.config().head.pooler;
  if (pooler != PoolerKind::kFirstToken) return pooler != PoolerKind::kMean;
  for (size_t place = 0; place < batch.mask.size(); place += batch.length) {
    if (batch.mask[place] == 0) return true;
  }
  return false;
}

// A head of single tokens, run where there are some: rows are gathered, some at a time, and their scores put in place.
template <class Head>
void RunAtTokens(const Head& head, const TokenBatch& batch, size_t width, size_t scores, const ModelOutput& output,
                 float* logits, ThreadPool& pool) {
  constexpr size_t kAtOnce = 96;
  Arena arena;
  const PackedTokens packed = PackTokens(batch, arena);
  if (packed.whole) return head.Forward(output.hidden.data(), packed.tokens, logits, pool);
  auto* rows = arena.Take<float>(kAtOnce * width);
  auto* answers = arena.Take<float>(kAtOnce * scores);
  for (size_t begin = 0; begin < packed.tokens; begin += kAtOnce) {
    const std::span places(packed.places + begin, std::min(kAtOnce, packed.tokens - begin));
    for (size_t i = 0; i < places.size(); ++i) {
      std::copy_n(output.hidden.data() + places[i] * width, width, rows + i * width);
    }
    head.Forward(rows, places.size(), answers, pool);
    for (size_t i = 0; i < places.size(); ++i) std::copy_n(answers + i * scores, scores, logits + places[i] * scores);
  }
}

}  // namespace

Result<ModelOutput> RunModel(const LoadedModel& model, const TokenBatch& given) {
  TokenBatch batch = given;
  batch.compute_padding = batch.compute_padding || HeadReadsPadding(model, batch);
  ModelOutput output;
  GROVE_ASSIGN_OR_RETURN(output.hidden, model.encoder.Forward(batch));
  const ModelConfig& config = model.config();
  const auto width = static_cast<size_t>(config.width);
  const Shape shape = LogitsShape(config, static_cast<int64_t>(batch.batch), static_cast<int64_t>(batch.length));
  size_t size = shape.empty() ? 0 : 1;
  for (const int64_t extent : shape) size *= static_cast<size_t>(extent);
  output.logits = AlignedArray<float>(size);
  if (batch.ids.empty()) return output;
  ThreadPool& pool = model.encoder.pool();
  const float* hidden = output.hidden.data();
  float* logits = output.logits.data();
  const size_t scores = shape.empty() ? 0 : static_cast<size_t>(shape.back());
  if (model.masked_lm) RunAtTokens(*model.masked_lm, batch, width, scores, output, logits, pool);
  if (model.token_classifier) RunAtTokens(*model.token_classifier, batch, width, scores, output, logits, pool);
  if (model.classifier) model.classifier->Forward(hidden, batch, logits, pool);
  if (model.pooler) {
    output.pooled = AlignedArray<float>(batch.batch * width);
    model.pooler->Forward(hidden, batch, output.pooled.data(), pool);
  }
  return output;
}

}  // namespace grove
