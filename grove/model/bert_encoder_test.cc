// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// BERT and DistilBERT beyond what golden files have: trees in place of their dense layers. A leaf tree of depth 0 is
// one dense layer, so the two models must agree.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "grove/io/parameters.h"
#include "grove/model/encoder.h"

namespace grove {
namespace {

size_t SizeOf(const Shape& shape) {
  size_t size = 1;
  for (const int64_t extent : shape) size *= static_cast<size_t>(extent);
  return size;
}

// Any parameter, its values drawn by its name.
class RandomSource : public ParameterSource {
 public:
  bool Has(const std::string&) const override { return false; }
  Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const override {
    std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(name)));
    std::normal_distribution<float> normal(0, 0.3f);
    AlignedArray<float> values(SizeOf(shape));
    for (float& value : values.span()) value = normal(random);
    return values;
  }
};

// The same model with each dense layer as the one leaf of a tree.
class OneLeafSource : public RandomSource {
 public:
  OneLeafSource(std::string tree, std::string in, std::string out)
      : tree_(std::move(tree)), in_(std::move(in)), out_(std::move(out)) {}

  Result<AlignedArray<float>> Read(const std::string& name, const Shape& shape) const override {
    const size_t dot = name.rfind('.');
    const std::string last = name.substr(dot + 1);
    if (!name.substr(0, dot).ends_with("." + tree_)) return RandomSource::Read(name, shape);
    const std::string block = name.substr(0, dot - tree_.size());
    if (last == "w1s") return Transposed(block + in_ + ".weight", shape);
    if (last == "w2s") return Transposed(block + out_ + ".weight", shape);
    if (last == "b1s") return RandomSource::Read(block + in_ + ".bias", shape);
    if (last == "b2s") return RandomSource::Read(block + out_ + ".bias", shape);
    return RandomSource::Read(name, shape);  // decisions: none
  }

 private:
  // [1, in, out] from the Linear's [out, in].
  Result<AlignedArray<float>> Transposed(const std::string& name, const Shape& shape) const {
    const AlignedArray<float> linear = RandomSource::Read(name, {shape[2], shape[1]}).value();
    const auto in = static_cast<size_t>(shape[1]), out = static_cast<size_t>(shape[2]);
    AlignedArray<float> values(in * out);
    for (size_t i = 0; i < in; ++i) {
      for (size_t o = 0; o < out; ++o) values[i * out + o] = linear[o * in + i];
    }
    return values;
  }

  std::string tree_, in_, out_;
};

ModelConfig DenseConfig(ModelFamily family) {
  ModelConfig config;
  config.family = family;
  config.vocabulary = 50;
  config.width = 24;
  config.layers = 3;
  config.heads = 4;
  config.max_length = 16;
  config.position = PositionKind::kLearned;
  config.final_norm = false;
  config.token_types = family == ModelFamily::kBert ? 2 : 0;
  config.head.kind = HeadKind::kSequenceClassification;
  config.feed_forward = {.kind = FeedForwardKind::kDense, .intermediate = 40};
  return config;
}

void ExpectTwins(ModelFamily family, const OneLeafSource& source, bool only_some) {
  const ModelConfig dense = DenseConfig(family);
  ModelConfig tree = dense;
  const FeedForwardConfig leaf{.kind = FeedForwardKind::kLeafTree, .depth = 0, .leaf_width = 40};
  if (only_some) {
    tree.layer_feed_forward = {leaf, dense.feed_forward, leaf};
  } else {
    tree.feed_forward = leaf;
  }
  ThreadPool pool(2);
  const Encoder expected = Encoder::Load(RandomSource(), dense, &pool).value();
  const Encoder actual = Encoder::Load(source, tree, &pool).value();
  std::vector<int32_t> ids;
  std::vector<uint8_t> mask, types;
  for (int32_t i = 0; i < 32; ++i) {
    ids.push_back(i * 7 % 50);
    mask.push_back(i < 25 ? 1 : 0);
    types.push_back(family == ModelFamily::kBert && i % 16 > 6 ? 1 : 0);
  }
  const TokenBatch batch{.ids = ids, .mask = mask, .types = types, .batch = 2, .length = 16};
  const AlignedArray<float> a = expected.Forward(batch).value(), b = actual.Forward(batch).value();
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_NEAR(a[i], b[i], 1e-4) << i;
    largest = std::max(largest, std::abs(a[i]));
  }
  EXPECT_GT(largest, 0.1f);
}

TEST(BertEncoder, TreesStandInPlaceOfDenseLayers) {
  for (const bool only_some : {false, true}) {
    ExpectTwins(ModelFamily::kBert, {"feed_forward", "intermediate.dense", "output.dense"}, only_some);
    ExpectTwins(ModelFamily::kDistilBert, {"ffn", "ffn.lin1", "ffn.lin2"}, only_some);
  }
}

TEST(BertEncoder, RefusesATokenTypeThatItDoesNotHave) {
  ThreadPool pool(1);
  const std::vector<int32_t> ids = {1, 2, 3};
  const std::vector<uint8_t> types = {0, 1, 2};
  const Encoder bert = Encoder::Load(RandomSource(), DenseConfig(ModelFamily::kBert), &pool).value();
  const TokenBatch batch{.ids = ids, .types = types, .batch = 1, .length = 3};
  EXPECT_NE(bert.Forward(batch).error().message().find("token type 2 is none of the model's 2"), std::string::npos);
  const Encoder distil = Encoder::Load(RandomSource(), DenseConfig(ModelFamily::kDistilBert), &pool).value();
  EXPECT_NE(distil.Forward(batch).error().message().find("token type 1 is none of the model's 1"), std::string::npos);
}

}  // namespace
}  // namespace grove
