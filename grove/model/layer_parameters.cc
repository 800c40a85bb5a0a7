// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/layer_parameters.h"

#include <algorithm>
#include <utility>

#include "grove/io/bert_names.h"
#include "grove/model/read_weights.h"

namespace grove {
namespace {

std::string CrammedPrefix(int64_t layer) { return "encoder.layers." + std::to_string(layer) + "."; }

// Writes `part` [heads, size] (0 query, 1 key, 2 value) into its place in `whole` [heads, 3, size].
template <class T>
void PutPart(const AlignedArray<T>& part, size_t number, size_t size, AlignedArray<T>& whole) {
  if (whole.size() == 0) whole = AlignedArray<T>(3 * part.size());
  for (size_t begin = 0, head = 0; begin < part.size(); begin += size, ++head) {
    std::copy_n(part.data() + begin, size, whole.data() + (3 * head + number) * size);
  }
}

void PutPart(const Weights& part, size_t number, size_t head_width, size_t width, Weights& whole) {
  whole.precision = part.precision;
  PutPart(part.fp32, number, head_width * width, whole.fp32);
  PutPart(part.bf16, number, head_width * width, whole.bf16);
  PutPart(part.int8, number, head_width * width, whole.int8);
  PutPart(part.scales, number, head_width, whole.scales);
}

Result<AttentionParameters> ReadBertAttention(const ParameterSource& source, const ModelConfig& config, int64_t layer,
                                              Precision precision) {
  const BertLayerNames& names = BertLayerNamesOf(config.family);
  const std::string prefix = BertLayerPrefix(config, layer) + ".";
  const int64_t width = config.width;
  const auto size = static_cast<size_t>(width), head_width = static_cast<size_t>(width / config.heads);
  AttentionParameters read;
  const char* parts[] = {names.query, names.key, names.value};
  for (size_t p = 0; p < 3; ++p) {
    const std::string name = prefix + parts[p];
    GROVE_ASSIGN_OR_RETURN(const Weights weight,
                           ReadWeights(source, name + ".weight", {.shape = {width, width}}, precision));
    GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> bias, source.Read(name + ".bias", {width}));
    PutPart(weight, p, head_width, size, read.query_key_value);
    PutPart(bias, p, head_width, read.query_key_value_bias);
  }
  const std::string out = prefix + names.attention_out;
  GROVE_ASSIGN_OR_RETURN(read.out, ReadWeights(source, out + ".weight", {.shape = {width, width}}, precision));
  GROVE_ASSIGN_OR_RETURN(read.out_bias, source.Read(out + ".bias", {width}));
  return read;
}

}  // namespace

LayerNames LayerNamesOf(const ModelConfig& config, int64_t layer) {
  if (config.crammed()) {
    const std::string prefix = CrammedPrefix(layer);
    return {prefix + "norm1",
            prefix + "norm2",
            {prefix + "ffn.", prefix + "ffn.dense_in", prefix + "ffn.dense_out", /*dense_bias=*/false}};
  }
  const BertLayerNames& names = BertLayerNamesOf(config.family);
  const std::string prefix = BertLayerPrefix(config, layer) + ".";
  return {prefix + names.attention_norm,
          prefix + names.norm,
          {prefix + names.tree + ".", prefix + names.in, prefix + names.out, /*dense_bias=*/true}};
}

Result<AttentionParameters> ReadAttention(const ParameterSource& source, const ModelConfig& config, int64_t layer,
                                          Precision precision) {
  if (!config.crammed()) return ReadBertAttention(source, config, layer, precision);
  const std::string prefix = CrammedPrefix(layer) + "attn.";
  const int64_t width = config.width;
  AttentionParameters read;
  GROVE_ASSIGN_OR_RETURN(read.query_key_value, ReadWeights(source, prefix + "self_attention.query_key_value.weight",
                                                           {.shape = {3 * width, width}}, precision));
  GROVE_ASSIGN_OR_RETURN(read.out, ReadWeights(source, prefix + "dense.weight", {.shape = {width, width}}, precision));
  return read;
}

}  // namespace grove
