// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/model_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

namespace grove::train {
namespace {

PositionKind PositionOf(const std::string& name) {
  if (name == "learned") return PositionKind::kLearned;
  return name == "sinusoidal" ? PositionKind::kSinusoidal : PositionKind::kScaledSinusoidal;
}

FeedForwardKind KindOf(const std::string& name) {
  for (const FeedForwardKind kind : {FeedForwardKind::kDense, FeedForwardKind::kLeafTree, FeedForwardKind::kMoe,
                                     FeedForwardKind::kNeuronTree, FeedForwardKind::kProductKey}) {
    if (name == FeedForwardKindName(kind)) return kind;
  }
  return FeedForwardKind::kNone;
}

TreeRouting RoutingOf(const std::string& name) {
  if (name == "random") return TreeRouting::kRandom;
  if (name == "straight_through") return TreeRouting::kStraightThrough;
  return name == "token_hash" ? TreeRouting::kTokenHash : TreeRouting::kHard;
}

// Parts of `text` between `separator`s, without the spaces around them; none for an empty text.
std::vector<std::string_view> Split(std::string_view text, char separator) {
  const auto trim = [](std::string_view part) {
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
    return part;
  };
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (!trim(text.substr(0, end)).empty()) parts.push_back(trim(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

Error WrongEntry(std::string_view entry, const std::string& problem) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("--layer-feed-forward: \"{}\" {}; write \"0-1: feed_forward=dense intermediate=512; 11: "
                           "feed_forward=none\"",
                           entry, problem));
}

// "3" or "0-5", within the model.
Result<std::pair<int64_t, int64_t>> LayerRange(std::string_view text, int64_t layers, std::string_view entry) {
  const auto number = [](std::string_view digits, int64_t* value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *value);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  const size_t dash = text.find('-');
  int64_t first = 0, last = 0;
  const bool numbers = number(text.substr(0, dash), &first) &&
                       number(dash == std::string_view::npos ? text : text.substr(dash + 1), &last);
  if (!numbers) return WrongEntry(entry, fmt::format("names no layers by \"{}\"", text));
  if (first > last || first < 0 || last >= layers) {
    return WrongEntry(entry, fmt::format("names layers {}, which are not among 0-{}", text, layers - 1));
  }
  return std::pair(first, last);
}

}  // namespace

FeedForwardConfig FeedForwardOf(const FeedForwardOptions& o) {
  return {.kind = KindOf(o.feed_forward),
          .nonlinearity = o.nonlinearity == "relu"   ? NonLinearity::kRelu
                          : o.nonlinearity == "gelu" ? NonLinearity::kGelu
                                                     : NonLinearity::kGeluGlu,
          .intermediate = o.intermediate,
          .trees = o.trees,
          .depth = o.depth,
          .two_sided = o.two_sided,
          .leaf_width = o.leaf_width,
          .paths = o.paths,
          .decision_scale = o.decision_scale,
          .routing = RoutingOf(o.routing),
          .routing_seed = o.routing_seed,
          .gates = o.gates == "probability" ? GateKind::kProbability : GateKind::kRenormalized,
          .experts = o.experts,
          .expert_width = o.expert_width,
          .router = o.router == "noisy_top_k" ? RouterKind::kNoisyTopK : RouterKind::kSoftmax,
          .top_k = o.top_k,
          .key_heads = o.key_heads,
          .sub_keys = o.sub_keys,
          .key_width = o.key_width,
          .always_on = o.always_on};
}

Result<std::vector<FeedForwardConfig>> LayerFeedForwardsOf(const ModelOptions& options) {
  std::vector<FeedForwardConfig> all;
  for (const std::string_view entry : Split(options.layer_feed_forward, ';')) {
    const size_t colon = entry.find(':');
    if (colon == std::string_view::npos) return WrongEntry(entry, "has no colon after its layers");
    FeedForwardOptions layer = options;
    OptionList list;
    AddFeedForwardOptions(layer, list);
    for (const std::string_view setting : Split(entry.substr(colon + 1), ' ')) {
      const size_t equals = std::min(setting.find('='), setting.size());
      const Option* option = FindOption(list, setting.substr(0, equals));
      if (option == nullptr)
        return WrongEntry(entry, fmt::format("has \"{}\", which is no option of a layer", setting));
      GROVE_RETURN_IF_ERROR(SetOption(*option, setting.substr(std::min(equals + 1, setting.size())),
                                      fmt::format("--layer-feed-forward: {}", option->name)));
    }
    if (all.empty()) all.assign(static_cast<size_t>(options.layers), FeedForwardOf(options));
    for (const std::string_view range : Split(entry.substr(0, colon), ',')) {
      GROVE_ASSIGN_OR_RETURN(const auto layers, LayerRange(range, options.layers, entry));
      for (int64_t i = layers.first; i <= layers.second; ++i) all[static_cast<size_t>(i)] = FeedForwardOf(layer);
    }
  }
  return all;
}

void AddFeedForwardOptions(FeedForwardOptions& m, OptionList& list) {
  const OptionList own = {
      {"feed_forward", &m.feed_forward, "Kind of feedforward layer", 0, 0,
       "leaf_tree neuron_tree moe product_key dense none"},
      {"nonlinearity", &m.nonlinearity, "Of a neuron; gelu_glu for dense only", 0, 0, "gelu relu gelu_glu"},
      {"intermediate", &m.intermediate, "dense: stored neurons", 1, 1 << 24},
      {"trees", &m.trees, "trees of both kinds: side by side", 1, 1 << 20},
      {"depth", &m.depth, "trees of both kinds: decisions on a path", 0, 24},
      {"two_sided", &m.two_sided, "neuron_tree: left turns have output weights too"},
      {"routing", &m.routing, "neuron_tree: what turns a token", 0, 0, "hard straight_through random token_hash"},
      {"routing_seed", &m.routing_seed, "neuron_tree: of random and token_hash routing", 0, 9e15},
      {"leaf_width", &m.leaf_width, "leaf_tree: neurons of a leaf", 1, 1 << 20},
      {"paths", &m.paths, "leaf_tree: leaves of a tree that a token visits", 1, 1 << 20},
      {"decision_scale", &m.decision_scale, "leaf_tree: P(right) = sigmoid(scale x logit)", 1e-6, 1e6},
      {"gates", &m.gates, "leaf_tree, moe: weights of what a token visits", 0, 0, "renormalized probability"},
      {"experts", &m.experts, "moe: stored experts", 1, 1 << 20},
      {"expert_width", &m.expert_width, "moe: neurons of an expert", 1, 1 << 20},
      {"router", &m.router, "moe: how experts are chosen", 0, 0, "softmax noisy_top_k"},
      {"top_k", &m.top_k, "moe: experts of a token; product_key: neurons of a head", 1, 1 << 20},
      {"key_heads", &m.key_heads, "product_key: searches of a token", 1, 1 << 20},
      {"sub_keys", &m.sub_keys, "product_key: keys of each half; their square is the stored neurons", 1, 1 << 14},
      {"key_width", &m.key_width, "product_key: length of a query, even", 2, 1 << 20},
      {"always_on", &m.always_on, "trees, moe, product_key: neurons of a dense part beside them", 0, 1 << 20},
  };
  list.insert(list.end(), own.begin(), own.end());
}

void AddModelOptions(ModelOptions& m, OptionList& list) {
  const OptionList shape = {
      {"layers", &m.layers, "Encoder blocks", 1, 1000},
      {"width", &m.width, "Length of a token's hidden vector", 1, 65536},
      {"heads", &m.heads, "Attention heads; divide the width", 1, 1024},
      {"length", &m.length, "Tokens of a training sequence, [CLS] and [SEP] among them", 3, 65536},
      {"positions", &m.positions, "How positions enter", 0, 0, "scaled-sinusoidal sinusoidal learned"},
  };
  list.insert(list.end(), shape.begin(), shape.end());
  AddFeedForwardOptions(m, list);
  const OptionList rest = {
      {"layer_feed_forward", &m.layer_feed_forward,
       "Layers that differ: \"0-1: feed_forward=dense intermediate=512; 11: feed_forward=none\""},
      {"init_std", &m.init_std, "Standard deviation of the initial weights", 0, 10},
      {"decoder_bias", &m.decoder_bias, "A bias for every word of the vocabulary"},
  };
  list.insert(list.end(), rest.begin(), rest.end());
}

Result<ModelConfig> ModelConfigOf(const ModelOptions& options, double dropout, int64_t vocabulary, int64_t pad_id) {
  if (options.width % options.heads != 0) {
    return Error(ErrorCode::kInvalidArgument, "--width must be a multiple of --heads");
  }
  ModelConfig config;
  config.vocabulary = vocabulary;
  config.pad_id = pad_id;
  config.layers = options.layers;
  config.width = options.width;
  config.heads = options.heads;
  config.max_length = options.length;
  config.position = PositionOf(options.positions);
  config.hidden_dropout = dropout;
  config.init_std = options.init_std;
  config.head.decoder_bias = options.decoder_bias;
  config.feed_forward = FeedForwardOf(options);
  GROVE_ASSIGN_OR_RETURN(config.layer_feed_forward, LayerFeedForwardsOf(options));
  return ParseModelConfig(ModelConfigJson(config), "the model of these options");
}

}  // namespace grove::train
