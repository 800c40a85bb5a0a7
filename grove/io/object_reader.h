// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Keys of a JSON object with their types, ranges and defaults, for the parsers of model configurations.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grove/base/result.h"
#include "grove/io/model_config.h"

namespace grove {

// Limits far above any model and low enough that no product of two or three sizes overflows.
inline constexpr int64_t kMaxWidth = int64_t{1} << 20;
inline constexpr int64_t kMaxVocabulary = int64_t{1} << 28;
inline constexpr int64_t kMaxLayers = 10'000;
inline constexpr int64_t kMaxLength = int64_t{1} << 24;
inline constexpr int64_t kMaxTrees = int64_t{1} << 20;
inline constexpr int64_t kMaxDepth = 24;
inline constexpr int64_t kMaxNeurons = int64_t{1} << 28;  // of one layer
inline constexpr int64_t kMaxSeed = int64_t{1} << 53;     // every JSON reader keeps whole numbers up to here

// Reads the keys of one object. The first problem is kept, later reads return defaults: the caller asks for every key
// in turn and looks at the error once.
class ObjectReader {
 public:
  using Json = nlohmann::json;

  ObjectReader(const Json& object, std::string path, std::string name, std::optional<Error>& error)
      : object_(object), path_(std::move(path)), name_(std::move(name)), error_(error) {}

  const Json* Find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  ObjectReader Object(const char* key) const {
    static const Json kEmpty = Json::object();
    const Json* value = Require(key);
    if (value != nullptr && !value->is_object()) Wrong(key, "an object");
    return {value != nullptr && value->is_object() ? *value : kEmpty, path_ + key + ".", name_, error_};
  }
  ObjectReader OptionalObject(const char* key) const {
    static const Json kEmpty = Json::object();
    return Find(key) != nullptr ? Object(key) : ObjectReader(kEmpty, path_ + key + ".", name_, error_);
  }

  // Entry `index` of the list `key`, which is there.
  ObjectReader Item(const char* key, size_t index) const {
    static const Json kEmpty = Json::object();
    const Json& item = (*Find(key))[index];
    const std::string path = path_ + key + "[" + std::to_string(index) + "]";
    if (!item.is_object()) Fail(ErrorCode::kInvalidArgument, "\"" + path + "\" must be an object or null");
    return {item.is_object() ? item : kEmpty, path + ".", name_, error_};
  }

  int64_t Integer(const char* key, int64_t low, int64_t high) const {
    const Json* value = Require(key);
    if (value == nullptr) return low;
    // Whole numbers only; those beyond 2^63 are unsigned in the JSON library and out of every range here.
    if (!value->is_number_integer()) return Wrong(key, "a whole number"), low;
    const bool too_big = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(high);
    if (too_big || value->get<int64_t>() < low || value->get<int64_t>() > high) {
      Fail(ErrorCode::kInvalidArgument, Path(key) + " is " + value->dump() + " and must be from " +
                                            std::to_string(low) + " to " + std::to_string(high));
      return low;
    }
    return value->get<int64_t>();
  }
  int64_t Integer(const char* key, int64_t low, int64_t high, int64_t fallback) const {
    return Find(key) != nullptr ? Integer(key, low, high) : fallback;
  }

  // Within [low, high].
  double Number(const char* key, double low, double high, std::optional<double> fallback = {}) const {
    if (fallback && Find(key) == nullptr) return *fallback;
    const Json* value = Require(key);
    if (value == nullptr) return low;
    if (!value->is_number()) return Wrong(key, "a number"), low;
    const double number = value->get<double>();
    if (!(number >= low && number <= high)) {
      Fail(ErrorCode::kInvalidArgument,
           Path(key) + " is " + value->dump() + " and must be from " + Json(low).dump() + " to " + Json(high).dump());
      return low;
    }
    return number;
  }

  bool Boolean(const char* key, std::optional<bool> fallback = {}) const {
    if (fallback && Find(key) == nullptr) return *fallback;
    const Json* value = Require(key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) return Wrong(key, "true or false"), false;
    return value->get<bool>();
  }

  // One of `choices`, each a name and what it stands for.
  template <class T>
  T Choice(const char* key, std::initializer_list<std::pair<const char*, T>> choices,
           std::optional<T> fallback = {}) const {
    if (fallback && Find(key) == nullptr) return *fallback;
    const Json* value = Require(key);
    if (value == nullptr) return choices.begin()->second;
    if (!value->is_string()) return Wrong(key, "a string"), choices.begin()->second;
    std::string names;
    for (const auto& [text, meaning] : choices) {
      if (*value == text) return meaning;
      names += (names.empty() ? "\"" : ", \"") + std::string(text) + "\"";
    }
    Unsupported(key, *value, names);
    return choices.begin()->second;
  }

  // A key whose other values would change what the model computes. Absent means `only`.
  void Only(const char* key, const Json& only) const {
    const Json* value = Find(key);
    if (value != nullptr && *value != only) Unsupported(key, *value, only.dump());
  }

  void Fail(ErrorCode code, const std::string& text) const {
    if (!error_) error_ = Error(code, name_ + ": " + text);
  }
  std::string Path(const char* key) const { return "\"" + path_ + key + "\""; }

 private:
  const Json* Require(const char* key) const {
    const Json* value = Find(key);
    if (value == nullptr) Fail(ErrorCode::kNotFound, "the key " + Path(key) + " is missing; add it");
    return value;
  }
  void Wrong(const char* key, const char* expected) const {
    Fail(ErrorCode::kInvalidArgument, Path(key) + " must be " + expected);
  }
  void Unsupported(const char* key, const Json& value, const std::string& supported) const {
    std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 60) + "...";
    Fail(ErrorCode::kUnsupported, Path(key) + " is " + text + ", which is not supported; supported: " + supported);
  }

  const Json& object_;
  std::string path_, name_;
  std::optional<Error>& error_;
};

// The keys of one feedforward layer, "intermed_type", "nonlin" and those of its kind: in "arch" of a crammedBERT, in
// "feed_forward" of a BERT (feed_forward_json.cc).
void ReadFeedForward(const ObjectReader& object, FeedForwardConfig& layer);
void AddFeedForward(const FeedForwardConfig& layer, nlohmann::ordered_json& object);

// The list of layers that differ: an entry a layer, such an object each, null for `base`. Empty if the key is absent.
inline constexpr const char* kLayerFeedForward = "layer_feed_forward";
std::vector<FeedForwardConfig> ReadLayerFeedForwards(const ObjectReader& object, int64_t layers,
                                                     const FeedForwardConfig& base);
void AddLayerFeedForwards(const std::vector<FeedForwardConfig>& layers, const FeedForwardConfig& base,
                          nlohmann::ordered_json& object);

}  // namespace grove
