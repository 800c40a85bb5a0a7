// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The keys of feedforward layers, docs/model-config.md, read and written.
#include <nlohmann/json.hpp>

#include "grove/base/check.h"
#include "grove/io/model_config.h"
#include "grove/io/object_reader.h"

namespace grove {
namespace {

using Json = nlohmann::ordered_json;

// Each enumeration's names, one list for reading and writing.
template <class T>
using Names = std::initializer_list<std::pair<const char*, T>>;

constexpr Names<FeedForwardKind> kTypes = {
    {"ff", FeedForwardKind::kDense},           {"fff", FeedForwardKind::kNeuronTree},
    {"leaf_tree", FeedForwardKind::kLeafTree}, {"moe", FeedForwardKind::kMoe},
    {"none", FeedForwardKind::kNone},          {"product_key", FeedForwardKind::kProductKey}};
constexpr Names<NonLinearity> kNonLinearities = {
    {"GELU", NonLinearity::kGelu}, {"GELUglu", NonLinearity::kGeluGlu}, {"ReLU", NonLinearity::kRelu}};
constexpr Names<TreeRouting> kRoutings = {{"hard", TreeRouting::kHard},
                                          {"random", TreeRouting::kRandom},
                                          {"straight_through", TreeRouting::kStraightThrough},
                                          {"token_hash", TreeRouting::kTokenHash}};
constexpr Names<GateKind> kGates = {{"probability", GateKind::kProbability}, {"renormalized", GateKind::kRenormalized}};
constexpr Names<RouterKind> kRouters = {{"noisy_top_k", RouterKind::kNoisyTopK}, {"softmax", RouterKind::kSoftmax}};

template <class T>
const char* NameOf(const Names<T>& names, T value) {
  for (const auto& [name, meaning] : names) {
    if (meaning == value) return name;
  }
  GROVE_CHECK(!"every value has a name");
  return "";
}

void ReadNeuronTree(const ObjectReader& arch, FeedForwardConfig& layer) {
  layer.trees = arch.Integer("intermed_size", 1, kMaxTrees);
  layer.depth = arch.Integer("intermed_depth", 0, kMaxDepth);
  layer.two_sided = arch.Boolean("fff_two_sided", false);
  layer.routing = arch.Choice<TreeRouting>("fff_routing", kRoutings, TreeRouting::kHard);
  layer.routing_seed = arch.Integer("routing_seed", 0, kMaxSeed, 0);
}

void ReadLeafTree(const ObjectReader& arch, FeedForwardConfig& layer) {
  layer.trees = arch.Integer("leaf_trees", 1, kMaxTrees, 1);
  layer.depth = arch.Integer("intermed_depth", 0, kMaxDepth);
  layer.leaf_width = arch.Integer("leaf_width", 1, kMaxWidth);
  layer.paths = arch.Integer("leaf_paths", 1, int64_t{1} << layer.depth, 1);
  layer.decision_scale = arch.Number("decision_scale", 1e-6, 1e6, 1.0);
  layer.gates = arch.Choice<GateKind>("gates", kGates, GateKind::kRenormalized);
}

void ReadMoe(const ObjectReader& arch, FeedForwardConfig& layer) {
  layer.experts = arch.Integer("experts", 1, kMaxTrees);
  layer.expert_width = arch.Integer("expert_width", 1, kMaxWidth);
  layer.top_k = arch.Integer("experts_per_token", 1, layer.experts);
  layer.router = arch.Choice<RouterKind>("router", kRouters, RouterKind::kSoftmax);
  layer.gates = arch.Choice<GateKind>("gates", kGates, GateKind::kRenormalized);
  if (layer.router == RouterKind::kNoisyTopK && layer.gates != GateKind::kRenormalized) {
    arch.Fail(ErrorCode::kUnsupported, arch.Path("gates") + " is \"probability\", which " + arch.Path("router") +
                                           " \"noisy_top_k\" does not have; use \"renormalized\" or \"softmax\"");
  }
}

void ReadProductKey(const ObjectReader& arch, FeedForwardConfig& layer) {
  layer.key_heads = arch.Integer("key_heads", 1, kMaxTrees);
  layer.sub_keys = arch.Integer("sub_keys", 1, int64_t{1} << 14);
  layer.key_width = arch.Integer("key_width", 2, kMaxWidth);
  layer.top_k = arch.Integer("neurons_per_head", 1, layer.sub_keys);
  if (layer.key_width % 2 != 0) {
    arch.Fail(ErrorCode::kInvalidArgument,
              arch.Path("key_width") + " is " + std::to_string(layer.key_width) +
                  " and must be even: each half of a query meets the sub-keys of its half");
  }
}

void ReadKeysOfKind(const ObjectReader& arch, FeedForwardConfig& layer) {
  switch (layer.kind) {
    case FeedForwardKind::kDense:
    case FeedForwardKind::kNone:
      return;
    case FeedForwardKind::kLeafTree:
      return ReadLeafTree(arch, layer);
    case FeedForwardKind::kMoe:
      return ReadMoe(arch, layer);
    case FeedForwardKind::kNeuronTree:
      return ReadNeuronTree(arch, layer);
    case FeedForwardKind::kProductKey:
      return ReadProductKey(arch, layer);
  }
}

void AddNeuronTree(const FeedForwardConfig& layer, Json& arch) {
  arch["intermed_size"] = layer.trees;
  arch["intermed_depth"] = layer.depth;
  if (layer.two_sided) arch["fff_two_sided"] = true;
  if (layer.routing != TreeRouting::kHard) arch["fff_routing"] = NameOf(kRoutings, layer.routing);
  const bool seeded = layer.routing == TreeRouting::kRandom || layer.routing == TreeRouting::kTokenHash;
  if (seeded) arch["routing_seed"] = layer.routing_seed;
}

void AddLeafTree(const FeedForwardConfig& layer, Json& arch) {
  if (layer.trees != 1) arch["leaf_trees"] = layer.trees;
  arch["intermed_depth"] = layer.depth;
  arch["leaf_width"] = layer.leaf_width;
  arch["leaf_paths"] = layer.paths;
  arch["decision_scale"] = layer.decision_scale;
  if (layer.gates != GateKind::kRenormalized) arch["gates"] = NameOf(kGates, layer.gates);
}

void AddMoe(const FeedForwardConfig& layer, Json& arch) {
  arch["experts"] = layer.experts;
  arch["expert_width"] = layer.expert_width;
  arch["experts_per_token"] = layer.top_k;
  arch["router"] = NameOf(kRouters, layer.router);
  arch["gates"] = NameOf(kGates, layer.gates);
}

void AddProductKey(const FeedForwardConfig& layer, Json& arch) {
  arch["key_heads"] = layer.key_heads;
  arch["sub_keys"] = layer.sub_keys;
  arch["key_width"] = layer.key_width;
  arch["neurons_per_head"] = layer.top_k;
}

}  // namespace

void ReadFeedForward(const ObjectReader& arch, FeedForwardConfig& layer) {
  layer.kind = arch.Choice<FeedForwardKind>("intermed_type", kTypes, FeedForwardKind::kDense);
  layer.nonlinearity = arch.Choice<NonLinearity>("nonlin", kNonLinearities);
  const bool glu = layer.nonlinearity == NonLinearity::kGeluGlu;
  if (layer.kind == FeedForwardKind::kDense) {
    layer.intermediate = arch.Integer("intermed_size", 1, kMaxNeurons);
    if (glu && layer.intermediate % 2 != 0) {
      arch.Fail(ErrorCode::kInvalidArgument, arch.Path("intermed_size") + " is " + std::to_string(layer.intermediate) +
                                                 " and must be even for GELUglu, which splits it in two halves");
    }
    return;
  }
  if (glu && layer.conditional()) {
    arch.Fail(ErrorCode::kUnsupported, arch.Path("nonlin") +
                                           " is GELUglu, which only dense layers (\"intermed_type\" "
                                           "\"ff\") can have; use GELU");
  }
  ReadKeysOfKind(arch, layer);
  if (layer.conditional()) layer.always_on = arch.Integer("always_on", 0, kMaxWidth, 0);
  if (layer.StoredNeurons() > kMaxNeurons) {
    arch.Fail(ErrorCode::kInvalidArgument, "the feedforward layer would have " + std::to_string(layer.StoredNeurons()) +
                                               " neurons, more than the limit of " + std::to_string(kMaxNeurons));
  }
}

// "intermed_*" and our own keys; the paper's keys are always there, because its code reads them.
void AddFeedForward(const FeedForwardConfig& layer, Json& arch) {
  arch["intermed_type"] = NameOf(kTypes, layer.kind);
  switch (layer.kind) {
    case FeedForwardKind::kDense:
      arch["intermed_size"] = layer.intermediate;
      arch["intermed_depth"] = 0;  // without a meaning, but the published layout has it
      break;
    case FeedForwardKind::kLeafTree:
      AddLeafTree(layer, arch);
      break;
    case FeedForwardKind::kMoe:
      AddMoe(layer, arch);
      break;
    case FeedForwardKind::kNeuronTree:
      AddNeuronTree(layer, arch);
      break;
    case FeedForwardKind::kNone:
      break;
    case FeedForwardKind::kProductKey:
      AddProductKey(layer, arch);
      break;
  }
  if (layer.conditional() && layer.always_on > 0) arch["always_on"] = layer.always_on;
  arch["nonlin"] = NameOf(kNonLinearities, layer.nonlinearity);
}

std::vector<FeedForwardConfig> ReadLayerFeedForwards(const ObjectReader& object, int64_t layers,
                                                     const FeedForwardConfig& base) {
  const nlohmann::json* list = object.Find(kLayerFeedForward);
  if (list == nullptr) return {};
  if (!list->is_array() || static_cast<int64_t>(list->size()) != layers) {
    object.Fail(ErrorCode::kInvalidArgument, object.Path(kLayerFeedForward) + " must be a list of " +
                                                 std::to_string(layers) + " entries, one a layer");
    return {};
  }
  std::vector<FeedForwardConfig> all;
  for (size_t i = 0; i < list->size(); ++i) {
    all.push_back(base);
    if ((*list)[i].is_null()) continue;
    all.back() = {};
    ReadFeedForward(object.Item(kLayerFeedForward, i), all.back());
  }
  return all;
}

void AddLayerFeedForwards(const std::vector<FeedForwardConfig>& layers, const FeedForwardConfig& base, Json& object) {
  if (layers.empty()) return;
  Json list = Json::array();
  for (const FeedForwardConfig& layer : layers) {
    Json entry;  // null: the model's own
    if (layer != base) AddFeedForward(layer, entry = Json::object());
    list.push_back(entry);
  }
  object[kLayerFeedForward] = list;
}

}  // namespace grove
