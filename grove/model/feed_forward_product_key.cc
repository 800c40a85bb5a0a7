// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <utility>

#include "grove/model/feed_forward_kinds.h"
#include "grove/model/product_key.h"

namespace grove {
namespace {

class ProductKeyFeedForward : public FeedForward {
 public:
  explicit ProductKeyFeedForward(ProductKey layer) : layer_(std::move(layer)) {}
  void Forward(const float* x, const int32_t*, size_t tokens, float* y, Arena&, ThreadPool& pool) const override {
    layer_.Forward(x, tokens, y, pool);
  }

 private:
  ProductKey layer_;
};

}  // namespace

FeedForwardResult LoadProductKey(const FeedForwardSource& source) {
  const FeedForwardConfig& config = source.config;
  const ProductKeyShape shape{.width = static_cast<size_t>(source.width),
                              .heads = static_cast<size_t>(config.key_heads),
                              .sub_keys = static_cast<size_t>(config.sub_keys),
                              .key_width = static_cast<size_t>(config.key_width),
                              .per_head = static_cast<size_t>(config.top_k),
                              .activation = KernelActivation(config)};
  const int64_t width = source.width, key = config.key_width, keys = config.sub_keys, neurons = keys * keys;
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> query, source.Read("query.weight", {config.key_heads * key, width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> norm_weight, source.Read("query_norm.weight", {key}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> norm_bias, source.Read("query_norm.bias", {key}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> sub_keys, source.Read("sub_keys", {2, keys, key / 2}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> in, source.Read("neurons_in", {neurons, width}));
  GROVE_ASSIGN_OR_RETURN(const AlignedArray<float> out, source.Read("neurons_out", {neurons, width}));
  const ProductKeyWeights weights{query.data(),    norm_weight.data(), norm_bias.data(),
                                  sub_keys.data(), in.data(),          out.data()};
  return {std::make_unique<ProductKeyFeedForward>(ProductKey(shape, weights, source.pool))};
}

}  // namespace grove
