// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/feed_forward_config.h"

#include "grove/base/check.h"

namespace grove {
namespace {

std::string Number(int64_t value) { return std::to_string(value); }

std::string Counted(int64_t count, const char* one, const char* many) {
  return Number(count) + " " + (count == 1 ? one : many);
}

std::string DescribeLeafTree(const FeedForwardConfig& c) {
  return (c.trees == 1 ? "leaf tree" : Number(c.trees) + " leaf trees") + " depth " + Number(c.depth) + ", " +
         (c.trees == 1 ? "" : "each ") + Counted(int64_t{1} << c.depth, "leaf of ", "leaves of ") +
         Number(c.leaf_width) + ", " + Counted(c.paths, "path", "paths");
}

std::string DescribeNeuronTree(const FeedForwardConfig& c) {
  std::string text = "neuron trees " + Number(c.trees) + "x" + Number(c.depth) + (c.two_sided ? ", two-sided" : "");
  switch (c.routing) {
    case TreeRouting::kHard:
      return text;
    case TreeRouting::kRandom:
      return text + ", random routing";
    case TreeRouting::kStraightThrough:
      return text + ", straight-through decisions";
    case TreeRouting::kTokenHash:
      return text + ", routed by token hash";
  }
  GROVE_CHECK(false);
}

std::string DescribeKind(const FeedForwardConfig& c) {
  switch (c.kind) {
    case FeedForwardKind::kDense:
      return "dense " + Number(c.intermediate) + (c.nonlinearity == NonLinearity::kGeluGlu ? ", GLU" : "");
    case FeedForwardKind::kLeafTree:
      return DescribeLeafTree(c);
    case FeedForwardKind::kMoe:
      return "mixture of " + Number(c.experts) + " experts of " + Number(c.expert_width) + ", " + Number(c.top_k) +
             " for a token" + (c.router == RouterKind::kNoisyTopK ? ", noisy top-k" : "");
    case FeedForwardKind::kNeuronTree:
      return DescribeNeuronTree(c);
    case FeedForwardKind::kNone:
      return "none";
    case FeedForwardKind::kProductKey:
      return "product keys, " + Number(c.sub_keys) + "x" + Number(c.sub_keys) + " neurons, " +
             Counted(c.key_heads, "head", "heads") + " of " + Number(c.top_k);
  }
  GROVE_CHECK(false);
}

// The products of product-key routing: queries, then the scores of both halves' sub-keys.
int64_t ProductKeyProducts(const FeedForwardConfig& c, int64_t width) {
  const int64_t scores = 2 * c.key_heads * c.sub_keys;
  const int64_t as_long_as_width = width == 0 ? scores : (scores * (c.key_width / 2) + width - 1) / width;
  return c.key_heads * c.key_width + as_long_as_width;
}

}  // namespace

int64_t FeedForwardConfig::StoredNeurons() const {
  switch (kind) {
    case FeedForwardKind::kDense:
      return intermediate;
    case FeedForwardKind::kLeafTree:
      return trees * (leaf_width << depth) + always_on;
    case FeedForwardKind::kMoe:
      return experts * expert_width + always_on;
    case FeedForwardKind::kNeuronTree:
      return trees * ((int64_t{2} << depth) - 1) + always_on;
    case FeedForwardKind::kNone:
      return 0;
    case FeedForwardKind::kProductKey:
      return sub_keys * sub_keys + always_on;
  }
  GROVE_CHECK(false);
}

int64_t FeedForwardConfig::ActiveNeurons(int64_t width) const {
  switch (kind) {
    case FeedForwardKind::kDense:
      return intermediate;
    // One path meets `depth` decisions; a search for more may have to open every one.
    case FeedForwardKind::kLeafTree:
      return trees * (paths * leaf_width + (paths == 1 ? depth : (int64_t{1} << depth) - 1)) + always_on;
    case FeedForwardKind::kMoe:
      return top_k * expert_width + experts + always_on;
    case FeedForwardKind::kNeuronTree:
      return trees * (depth + 1) + (routing == TreeRouting::kRandom ? trees * depth : 0) + always_on;
    case FeedForwardKind::kNone:
      return 0;
    case FeedForwardKind::kProductKey:
      return key_heads * top_k + ProductKeyProducts(*this, width) + always_on;
  }
  GROVE_CHECK(false);
}

std::string_view FeedForwardKindName(FeedForwardKind kind) {
  switch (kind) {
    case FeedForwardKind::kDense:
      return "dense";
    case FeedForwardKind::kLeafTree:
      return "leaf_tree";
    case FeedForwardKind::kMoe:
      return "moe";
    case FeedForwardKind::kNeuronTree:
      return "neuron_tree";
    case FeedForwardKind::kNone:
      return "none";
    case FeedForwardKind::kProductKey:
      return "product_key";
  }
  GROVE_CHECK(false);
}

std::string DescribeFeedForward(const FeedForwardConfig& config) {
  std::string text = DescribeKind(config);
  const bool gated = config.kind == FeedForwardKind::kLeafTree || config.kind == FeedForwardKind::kMoe;
  if (gated && config.gates == GateKind::kProbability) text += ", gated by probability";
  if (config.conditional() && config.always_on > 0) text += ", " + Number(config.always_on) + " always on";
  return text;
}

}  // namespace grove
