// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "grove/io/model_directory.h"
#include "grove/model/heads.h"
#include "grove/model/random_model.h"
#include "tests/temporary_folder.h"

namespace grove {
namespace {

using test::PlainModel;
using test::SmallConfig;

constexpr double kTolerance = 2e-5;

class EncoderTest : public testing::Test {
 protected:
  ModelDirectory Open(const ModelConfig& config, const test::RandomTensors& tensors) {
    test::WriteModel(folder_.path(), config, tensors);
    Result<ModelDirectory> directory = ModelDirectory::Open(folder_.path());
    EXPECT_TRUE(directory.ok()) << (directory.ok() ? "" : directory.error().message());
    return std::move(directory).value();
  }

  // Two sequences, the second padded: hidden vectors (at its tokens) and logits equal the plain model's.
  void ExpectAgreement(const ModelConfig& config) {
    const test::RandomTensors tensors = test::MakeRandomTensors(config, 7);
    const ModelDirectory directory = Open(config, tensors);
    const Encoder encoder = Encoder::Load(directory, &pool_).value();
    constexpr size_t kLength = 9;
    std::vector<int32_t> ids;
    for (size_t i = 0; i < 2 * kLength; ++i) ids.push_back(static_cast<int32_t>((i * 17 + 3) % 40));
    std::vector<uint8_t> mask(2 * kLength, 1);
    mask[kLength + 1] = mask[2 * kLength - 1] = mask[2 * kLength - 2] = 0;
    const AlignedArray<float> hidden =
        encoder.Forward({.ids = ids, .mask = mask, .batch = 2, .length = kLength, .compute_padding = true}).value();
    const PlainModel plain(config, tensors);
    std::vector<PlainModel::Rows> expected;
    const auto width = static_cast<size_t>(config.width);
    for (size_t b = 0; b < 2; ++b) {
      const auto at = [&](const auto& all) {
        return std::vector(all.begin() + static_cast<ptrdiff_t>(b * kLength),
                           all.begin() + static_cast<ptrdiff_t>((b + 1) * kLength));
      };
      expected.push_back(plain.Hidden(at(ids), at(mask)));
      for (size_t t = 0; t < kLength; ++t) {
        for (size_t i = 0; i < width; ++i) {
          ASSERT_NEAR(hidden[(b * kLength + t) * width + i], expected[b][t][i], kTolerance)
              << b << " " << t << " " << i;
        }
      }
    }
    ExpectHead(config, directory, encoder, hidden, mask, plain, expected);
  }

  void ExpectHead(const ModelConfig& config, const ModelDirectory& directory, const Encoder& encoder,
                  const AlignedArray<float>& hidden, const std::vector<uint8_t>& mask, const PlainModel& plain,
                  const std::vector<PlainModel::Rows>& expected) {
    const size_t batch = expected.size(), length = expected[0].size();
    AlignedArray<float> logits;
    PlainModel::Rows plain_logits;
    if (config.head.kind == HeadKind::kMaskedLm) {
      logits = AlignedArray<float>(batch * length * static_cast<size_t>(config.vocabulary));
      MaskedLmHead::Load(FileParameters(directory.weights, directory.config), encoder)
          .value()
          .Forward(hidden.data(), batch * length, logits.data(), pool_);
      for (const auto& rows : expected) {
        for (auto& row : plain.MaskedLmLogits(rows)) plain_logits.push_back(row);
      }
    } else {
      logits = AlignedArray<float>(batch * static_cast<size_t>(config.head.labels));
      ClassificationHead::Load(FileParameters(directory.weights, config), encoder)
          .value()
          .Forward(hidden.data(), {.ids = {}, .mask = mask, .batch = batch, .length = length}, logits.data(), pool_);
      for (size_t b = 0; b < batch; ++b) {
        const auto of_sequence = std::span(mask).subspan(b * length, length);
        plain_logits.push_back(plain.Classify(expected[b], {of_sequence.begin(), of_sequence.end()}));
      }
    }
    for (size_t r = 0; r < plain_logits.size(); ++r) {
      for (size_t i = 0; i < plain_logits[r].size(); ++i) {
        ASSERT_NEAR(logits[r * plain_logits[r].size() + i], plain_logits[r][i], 10 * kTolerance) << r << " " << i;
      }
    }
  }

  test::TemporaryFolder folder_;
  ThreadPool pool_{2};
};

TEST_F(EncoderTest, EveryFeedForwardKindAgreesWithPlainCode) {
  using enum TreeRouting;
  const GateKind kProbability = GateKind::kProbability;
  const FeedForwardConfig kinds[] = {
      {.kind = FeedForwardKind::kDense, .intermediate = 36},
      {.kind = FeedForwardKind::kDense, .nonlinearity = NonLinearity::kRelu, .intermediate = 35},
      {.kind = FeedForwardKind::kDense, .nonlinearity = NonLinearity::kGeluGlu, .intermediate = 38},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 3, .depth = 2},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 1, .depth = 0},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 3, .two_sided = true},
      {.kind = FeedForwardKind::kNeuronTree, .nonlinearity = NonLinearity::kRelu, .trees = 2, .depth = 3},
      {.kind = FeedForwardKind::kLeafTree, .depth = 0, .leaf_width = 5},
      {.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 4},
      {.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 4, .paths = 3, .decision_scale = 2.5},
      {.kind = FeedForwardKind::kLeafTree, .depth = 2, .leaf_width = 3, .paths = 4},
      {.kind = FeedForwardKind::kLeafTree, .trees = 3, .depth = 2, .leaf_width = 5, .paths = 2},
      {.kind = FeedForwardKind::kLeafTree, .trees = 2, .depth = 3, .leaf_width = 4, .gates = kProbability},
      {.kind = FeedForwardKind::kLeafTree, .depth = 3, .leaf_width = 4, .paths = 3, .gates = kProbability},
      {.kind = FeedForwardKind::kLeafTree, .trees = 2, .depth = 1, .leaf_width = 4, .paths = 2, .always_on = 7},
      {.kind = FeedForwardKind::kMoe, .experts = 1, .expert_width = 3},
      {.kind = FeedForwardKind::kMoe, .experts = 9, .expert_width = 5, .top_k = 3, .always_on = 3},
      {.kind = FeedForwardKind::kMoe,
       .nonlinearity = NonLinearity::kRelu,
       .gates = kProbability,
       .experts = 8,
       .expert_width = 4},
      {.kind = FeedForwardKind::kMoe, .gates = kProbability, .experts = 4, .expert_width = 4, .top_k = 4},
      {.kind = FeedForwardKind::kMoe, .experts = 6, .expert_width = 5, .router = RouterKind::kNoisyTopK, .top_k = 2},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 3, .two_sided = true, .routing = kRandom},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 3, .depth = 0, .routing = kRandom},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 3, .depth = 3, .routing = kTokenHash, .routing_seed = 4},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 2, .routing = kStraightThrough, .always_on = 5},
      {.kind = FeedForwardKind::kProductKey, .top_k = 3, .key_heads = 2, .sub_keys = 5, .key_width = 6},
      {.kind = FeedForwardKind::kProductKey,
       .nonlinearity = NonLinearity::kRelu,
       .top_k = 1,
       .key_heads = 3,
       .sub_keys = 1,
       .key_width = 2,
       .always_on = 4},
      {.kind = FeedForwardKind::kProductKey, .top_k = 7, .key_heads = 1, .sub_keys = 7, .key_width = 34},
      {.kind = FeedForwardKind::kNone}};
  for (const FeedForwardConfig& kind : kinds) {
    SCOPED_TRACE(DescribeFeedForward(kind));
    ModelConfig config = SmallConfig();
    config.feed_forward = kind;
    ExpectAgreement(config);
  }
}

TEST_F(EncoderTest, LayersThatDifferAgreeWithPlainCode) {
  ModelConfig config = SmallConfig();
  config.layers = 4;
  config.layer_feed_forward = {
      config.feed_forward,
      {.kind = FeedForwardKind::kMoe, .experts = 3, .expert_width = 5, .top_k = 2},
      {.kind = FeedForwardKind::kNone},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 4, .routing = TreeRouting::kTokenHash}};
  ExpectAgreement(config);
}

TEST_F(EncoderTest, PositionsAndNormsAgreeWithPlainCode) {
  for (const PositionKind position :
       {PositionKind::kLearned, PositionKind::kScaledSinusoidal, PositionKind::kSinusoidal}) {
    for (const bool norms : {false, true}) {
      ModelConfig config = SmallConfig();
      config.position = position;
      config.embedding_norm = config.final_norm = norms;
      config.width = 21;  // odd: one sine without its cosine
      config.heads = 3;
      config.head.decoder_bias = norms;
      ExpectAgreement(config);
    }
  }
}

TEST_F(EncoderTest, PoolersAgreeWithPlainCode) {
  for (const PoolerKind pooler :
       {PoolerKind::kAverage, PoolerKind::kFirstToken, PoolerKind::kLogSumExp, PoolerKind::kMax, PoolerKind::kMean}) {
    for (const bool dense : {false, true}) {
      ModelConfig config = SmallConfig();
      config.head = {.kind = HeadKind::kSequenceClassification,
                     .labels = 3,
                     .pooler = pooler,
                     .pooler_dense = dense,
                     .pooler_width = dense ? 17 : config.width};
      ExpectAgreement(config);
    }
  }
}

TEST_F(EncoderTest, ModelWithoutLayersIsItsEmbedding) {
  ModelConfig config = SmallConfig();
  config.layers = 0;
  ExpectAgreement(config);
}

TEST_F(EncoderTest, StoredDecoderIsUsed) {
  ModelConfig config = SmallConfig();
  test::RandomTensors tensors = test::MakeRandomTensors(config, 1);
  tensors["decoder.weight"] = {{40, 20}, std::vector<float>(800, 0.0f)};
  const ModelDirectory directory = Open(config, tensors);
  const Encoder encoder = Encoder::Load(directory, &pool_).value();
  const std::vector<float> hidden(20, 1.0f);
  std::vector<float> logits(40, 1.0f);
  MaskedLmHead::Load(FileParameters(directory.weights, directory.config), encoder)
      .value()
      .Forward(hidden.data(), 1, logits.data(), pool_);
  EXPECT_EQ(logits, std::vector<float>(40, 0.0f));
}

// Alone or in a padded batch, with any number of threads. A layer of every kind.
TEST_F(EncoderTest, BatchAndThreadsDoNotChangeASequence) {
  ModelConfig config = SmallConfig();
  config.max_length = 300;
  config.layer_feed_forward = {
      {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 4},
      {.kind = FeedForwardKind::kLeafTree, .trees = 2, .depth = 3, .leaf_width = 5, .paths = 2, .always_on = 3},
      {.kind = FeedForwardKind::kMoe, .experts = 7, .expert_width = 5, .top_k = 2},
      {.kind = FeedForwardKind::kProductKey, .top_k = 3, .key_heads = 2, .sub_keys = 5, .key_width = 6},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 4, .routing = TreeRouting::kTokenHash},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 2, .depth = 4, .routing = TreeRouting::kRandom}};
  config.layers = static_cast<int64_t>(config.layer_feed_forward.size());
  const ModelDirectory directory = Open(config, test::MakeRandomTensors(config, 3));
  constexpr size_t kLength = 200, kShort = 5;
  std::vector<int32_t> ids(2 * kLength, 0);
  std::vector<uint8_t> mask(2 * kLength, 0);
  for (size_t i = 0; i < kLength + kShort; ++i) {
    ids[i] = static_cast<int32_t>(i * i % 40);
    mask[i] = 1;
  }
  AlignedArray<float> first;
  for (const size_t threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    const Encoder encoder = Encoder::Load(directory, &pool).value();
    AlignedArray<float> both = encoder.Forward({.ids = ids, .mask = mask, .batch = 2, .length = kLength}).value();
    const std::span<const int32_t> alone(ids.data() + kLength, kShort);
    const AlignedArray<float> single = encoder.Forward({.ids = alone, .batch = 1, .length = kShort}).value();
    ASSERT_EQ(std::memcmp(single.data(), both.data() + kLength * 20, single.size() * sizeof(float)), 0) << threads;
    if (threads == 1) {
      first = std::move(both);
    } else {
      ASSERT_EQ(std::memcmp(first.data(), both.data(), first.size() * sizeof(float)), 0) << threads;
    }
  }
}

TEST_F(EncoderTest, PartsOfABatchGiveWhatTheWholeGives) {
  const ModelConfig config = SmallConfig();
  const ModelDirectory directory = Open(config, test::MakeRandomTensors(config, 3));
  constexpr size_t kBatch = 7, kLength = 12;
  std::vector<int32_t> ids(kBatch * kLength);
  std::vector<uint8_t> mask(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(i * i % 40);
    mask[i] = i % kLength < 2 + i / kLength * 2 ? 1 : 0;  // of 2, 4, 6 ... tokens
  }
  std::vector<AlignedArray<float>> results;
  for (const size_t most : {1000, 1, 9, 20}) {
    const Encoder encoder = Encoder::Load(directory, &pool_, {.tokens_at_once = most}).value();
    for (const bool compute_padding : {false, true}) {
      results.push_back(
          encoder
              .Forward(
                  {.ids = ids, .mask = mask, .batch = kBatch, .length = kLength, .compute_padding = compute_padding})
              .value());
      const AlignedArray<float>& whole = results[compute_padding ? 1 : 0];
      ASSERT_EQ(std::memcmp(results.back().data(), whole.data(), whole.size() * sizeof(float)), 0) << most;
    }
  }
}

// Enough sequences for each thread to take some through all layers, or weights that all threads had better read once.
TEST_F(EncoderTest, LargeBatchesGiveWhatPartsGive) {
  constexpr size_t kBatch = 64, kLength = 64;
  std::vector<int32_t> ids(kBatch * kLength);
  std::vector<uint8_t> mask(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(i * i % 40);
    mask[i] = i % kLength < 32 + i / kLength / 2 ? 1 : 0;
  }
  const TokenBatch batch{.ids = ids, .mask = mask, .batch = kBatch, .length = kLength};
  for (const int64_t depth : {4, 14}) {  // of 16 leaves, or 67 MB
    ModelConfig config = SmallConfig();
    config.max_length = 64;
    config.feed_forward = {.kind = FeedForwardKind::kLeafTree, .depth = depth, .leaf_width = 16, .paths = 2};
    const ModelDirectory directory = Open(config, test::MakeRandomTensors(config, 3));
    const AlignedArray<float> parts =
        Encoder::Load(directory, &pool_, {.tokens_at_once = 100}).value().Forward(batch).value();
    for (const size_t threads : {1, 2, 4}) {
      ThreadPool pool(threads);
      const AlignedArray<float> shares = Encoder::Load(directory, &pool).value().Forward(batch).value();
      EXPECT_EQ(std::memcmp(shares.data(), parts.data(), parts.size() * sizeof(float)), 0) << depth << ' ' << threads;
    }
  }
}

TEST_F(EncoderTest, WhollyMaskedSequenceIsFinite) {
  const ModelConfig config = SmallConfig();
  const Encoder encoder = Encoder::Load(Open(config, test::MakeRandomTensors(config, 3)), &pool_).value();
  const std::vector<int32_t> ids(6, 1);
  const std::vector<uint8_t> mask(6, 0);
  const AlignedArray<float> hidden = encoder.Forward({.ids = ids, .mask = mask, .batch = 2, .length = 3}).value();
  for (const float value : hidden.span()) EXPECT_TRUE(std::isfinite(value));
}

TEST_F(EncoderTest, RefusesWhatItCannotTake) {
  const ModelConfig config = SmallConfig();
  const Encoder encoder = Encoder::Load(Open(config, test::MakeRandomTensors(config, 3)), &pool_).value();
  std::vector<int32_t> ids(25, 1);
  const auto refused = [&](size_t length) {
    return encoder.Forward({.ids = std::span(ids).first(length), .batch = 1, .length = length}).error().message();
  };
  EXPECT_NE(refused(25).find("25 tokens and the model takes at most 24"), std::string::npos);
  ids[2] = 40;
  EXPECT_NE(refused(3).find("token id 40"), std::string::npos);
  ids[2] = -1;
  EXPECT_NE(refused(3).find("token id -1"), std::string::npos);
  EXPECT_EQ(encoder.Forward({}).value().size(), 0u);
}

// A missing, misshapen or mistyped tensor, whichever it is, is named.
TEST_F(EncoderTest, NamesTheTensorThatIsWrong) {
  const FeedForwardConfig kinds[] = {
      {.kind = FeedForwardKind::kDense, .intermediate = 8},
      {.kind = FeedForwardKind::kNeuronTree, .trees = 1, .depth = 1, .two_sided = true},
      {.kind = FeedForwardKind::kNeuronTree, .depth = 1, .routing = TreeRouting::kRandom},
      {.kind = FeedForwardKind::kLeafTree, .depth = 1, .leaf_width = 2, .always_on = 3},
      {.kind = FeedForwardKind::kMoe, .experts = 3, .expert_width = 2},
      {.kind = FeedForwardKind::kProductKey, .top_k = 1, .key_heads = 1, .sub_keys = 3, .key_width = 4}};
  for (const FeedForwardConfig& kind : kinds) {
    ModelConfig config = SmallConfig();
    config.layers = 1;
    config.feed_forward = kind;
    const test::RandomTensors tensors = test::MakeRandomTensors(config, 5);
    for (const auto& [name, tensor] : tensors) {
      test::RandomTensors broken = tensors;
      broken.erase(name);
      const Error missing = Encoder::Load(Open(config, broken), &pool_).error();
      EXPECT_EQ(missing.code(), ErrorCode::kNotFound);
      EXPECT_NE(missing.message().find("\"" + name + "\""), std::string::npos) << missing.message();
      broken[name] = {{1, 1, 1}, {1.0f}};
      const Error misshapen = Encoder::Load(Open(config, broken), &pool_).error();
      EXPECT_NE(misshapen.message().find("\"" + name + "\" has shape [1, 1, 1]"), std::string::npos)
          << misshapen.message();
    }
  }
}

// Where the last feedforward layer adds nothing and its norm is the final one, what enters it is what leaves the
// encoder.
TEST_F(EncoderTest, ObserverIsToldWhatEntersEachFeedForwardLayer) {
  const ModelConfig config = SmallConfig();
  test::RandomTensors tensors = test::MakeRandomTensors(config, 7);
  const std::string last = "encoder.layers." + std::to_string(config.layers - 1) + ".";
  for (const char* part : {".weight", ".bias"}) {
    tensors.at("encoder.final_norm" + std::string(part)).values = tensors.at(last + "norm2" + part).values;
  }
  for (auto& [name, tensor] : tensors) {
    const bool out = name.starts_with(last + "ffn.") && name.find("out") != std::string::npos;
    if (out) std::fill(tensor.values.begin(), tensor.values.end(), 0.0f);
  }
  const ModelDirectory directory = Open(config, tensors);
  std::vector<int64_t> layers;
  std::vector<float> seen;
  EncoderOptions options;
  options.observe = [&](int64_t layer, const float* x, size_t tokens) {
    layers.push_back(layer);
    seen.assign(x, x + tokens * static_cast<size_t>(config.width));
  };
  const Encoder encoder = Encoder::Load(directory, &pool_, options).value();
  const std::vector<int32_t> ids = {3, 20, 7, 11};
  const AlignedArray<float> hidden = encoder.Forward({.ids = ids, .batch = 1, .length = 4}).value();
  ASSERT_EQ(layers.size(), static_cast<size_t>(config.layers));
  for (size_t i = 0; i < layers.size(); ++i) EXPECT_EQ(layers[i], static_cast<int64_t>(i));
  ASSERT_EQ(seen.size(), hidden.size());
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_FLOAT_EQ(seen[i], hidden[i]) << i;
}

}  // namespace
}  // namespace grove
