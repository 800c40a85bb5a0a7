// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Whole models against the outputs of the paper's PyTorch classes and of Hugging Face Transformers: 1e-4 absolute, at
// positions that the mask shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grove/io/model_directory.h"
#include "grove/model/model.h"
#include "tests/fixtures.h"

namespace grove {
namespace {

constexpr float kTolerance = 1e-4f;
constexpr float kBf16Tolerance = 0.1f;
constexpr float kInt8Tolerance = 0.3f;

// The inputs of an io.safetensors.
struct Inputs {
  std::vector<int32_t> ids;
  std::vector<uint8_t> mask, types;
  size_t batch = 0, length = 0;

  TokenBatch Batch(bool masked) const {
    return {.ids = ids,
            .mask = masked ? std::span<const uint8_t>(mask) : std::span<const uint8_t>(),
            .types = types,
            .batch = batch,
            .length = length};
  }
};

Inputs ReadInputs(const SafetensorsFile& io) {
  Shape shape;
  const std::vector<int64_t> ids = io.ReadIntegers("input_ids", &shape).value();
  const std::vector<int64_t> mask = io.ReadIntegers("attention_mask", nullptr).value();
  std::vector<int64_t> types;
  if (io.Has("token_type_ids")) types = io.ReadIntegers("token_type_ids", nullptr).value();
  return {.ids = {ids.begin(), ids.end()},
          .mask = {mask.begin(), mask.end()},
          .types = {types.begin(), types.end()},
          .batch = static_cast<size_t>(shape.at(0)),
          .length = static_cast<size_t>(shape.at(1))};
}

ModelOutput RunFolder(const std::string& folder, const TokenBatch& batch, size_t threads,
                      Precision precision = Precision::kFp32) {
  ThreadPool pool(threads);
  const LoadOptions options{.tokenizer = false, .encoder = {.precision = precision}};
  return RunModel(LoadModel(folder, &pool, options).value(), batch).value();
}

// Compares tensor `name` of the file, if it has it. Rows where `mask` (if not null) is 0 are not compared.
bool Compare(const SafetensorsFile& io, const std::string& name, const AlignedArray<float>& actual,
             const std::vector<uint8_t>* mask, float tolerance = kTolerance) {
  if (!io.Has(name)) return false;
  const AlignedArray<float> expected = io.ReadFloats(name, io.Find(name).value().shape).value();
  EXPECT_EQ(actual.size(), expected.size()) << name;
  if (actual.size() != expected.size()) return true;
  float largest = 0;
  const size_t row = mask != nullptr ? expected.size() / mask->size() : 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (mask != nullptr && (*mask)[i / row] == 0) continue;
    const float off = std::abs(expected[i] - actual[i]);
    largest = std::isnan(off) ? INFINITY : std::max(largest, off);
  }
  EXPECT_LE(largest, tolerance) << name;
  return true;
}

bool Same(const AlignedArray<float>& a, const AlignedArray<float>& b) {
  return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
}

class ModelFixture : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    GROVE_FIXTURE_OR_SKIP(GetParam());
    const Result<ModelDirectory> opened = ModelDirectory::Open(GetParam());
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    config_ = opened.value().config;
    io_.emplace(SafetensorsFile::Open(GetParam() + "/io.safetensors").value());
    inputs_ = ReadInputs(*io_);
  }

  // Any number of threads gives the same.
  ModelOutput RunOnThreads(bool masked) {
    ModelOutput first = RunFolder(GetParam(), inputs_.Batch(masked), 1);
    for (const size_t threads : {2, 3}) {
      const ModelOutput other = RunFolder(GetParam(), inputs_.Batch(masked), threads);
      EXPECT_TRUE(Same(other.hidden, first.hidden)) << threads << " threads";
      EXPECT_TRUE(Same(other.logits, first.logits)) << threads << " threads";
      EXPECT_TRUE(Same(other.pooled, first.pooled)) << threads << " threads";
    }
    return first;
  }

  // Of scores: those of tokens are compared where the mask shows them, those of sequences all.
  const std::vector<uint8_t>* LogitsMask() const {
    return config_.head.kind == HeadKind::kSequenceClassification ? nullptr : &inputs_.mask;
  }

  ModelConfig config_;
  std::optional<SafetensorsFile> io_;
  Inputs inputs_;
};

using CrammedFixture = ModelFixture;
TEST_P(CrammedFixture, AgreesWithTheReference) {
  for (const bool masked : {false, true}) {
    const std::string suffix = masked ? "" : "_nomask";
    const ModelOutput output = RunOnThreads(masked);
    Compare(*io_, "hidden" + suffix, output.hidden, masked ? &inputs_.mask : nullptr);
    EXPECT_TRUE(Compare(*io_, "logits" + suffix, output.logits, masked ? LogitsMask() : nullptr));
  }
}

using HuggingFaceFixture = ModelFixture;
TEST_P(HuggingFaceFixture, AgreesWithTransformers) {
  const ModelOutput output = RunOnThreads(true);
  const bool hidden = Compare(*io_, "last_hidden_state", output.hidden, &inputs_.mask);
  const bool logits = Compare(*io_, "logits", output.logits, LogitsMask());
  EXPECT_TRUE(hidden || logits);
  Compare(*io_, "pooler_output", output.pooled, nullptr);
}

// Dense models, whose weights and inputs are rounded: bf16 to 2^-9 of a value, int8 to 1/254 of a row's largest.
TEST_P(HuggingFaceFixture, NarrowPrecisionsStayNear) {
  for (const auto& [precision, tolerance] :
       {std::pair{Precision::kBf16, kBf16Tolerance}, {Precision::kInt8, kInt8Tolerance}}) {
    const ModelOutput output = RunFolder(GetParam(), inputs_.Batch(true), 2, precision);
    Compare(*io_, "last_hidden_state", output.hidden, &inputs_.mask, tolerance);
    Compare(*io_, "logits", output.logits, LogitsMask(), tolerance);
    Compare(*io_, "pooler_output", output.pooled, nullptr, tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Crammed, CrammedFixture, testing::ValuesIn(test::FixtureFiles("crammed", "", "")),
                         test::FixtureName);
INSTANTIATE_TEST_SUITE_P(HuggingFace, HuggingFaceFixture, testing::ValuesIn(test::FixtureFiles("hf", "", "")),
                         test::FixtureName);

}  // namespace
}  // namespace grove
