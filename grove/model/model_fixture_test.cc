// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Whole models against the outputs of the paper's PyTorch classes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "grove/io/model_directory.h"
#include "grove/model/encoder.h"
#include "grove/model/heads.h"
#include "tests/fixtures.h"

namespace grove {
namespace {

constexpr float kTolerance = 1e-4f;

struct Outputs {
  AlignedArray<float> hidden;  // [batch, length, width]
  AlignedArray<float> logits;  // [batch, length, vocabulary] or [batch, labels]
};

// The inputs of an io.safetensors.
struct Inputs {
  std::vector<int32_t> ids;
  std::vector<uint8_t> mask;
  size_t batch = 0, length = 0;
};

Inputs ReadInputs(const SafetensorsFile& io) {
  Shape shape;
  const std::vector<int64_t> ids = io.ReadIntegers("input_ids", &shape).value();
  const std::vector<int64_t> mask = io.ReadIntegers("attention_mask", nullptr).value();
  return {{ids.begin(), ids.end()},
          {mask.begin(), mask.end()},
          static_cast<size_t>(shape.at(0)),
          static_cast<size_t>(shape.at(1))};
}

Outputs RunModel(const ModelDirectory& directory, const Inputs& inputs, bool masked, size_t threads) {
  ThreadPool pool(threads);
  const Encoder encoder = Encoder::Load(directory, &pool).value();
  const TokenBatch batch{.ids = inputs.ids,
                         .mask = masked ? std::span<const uint8_t>(inputs.mask) : std::span<const uint8_t>(),
                         .batch = inputs.batch,
                         .length = inputs.length};
  Outputs outputs{encoder.Forward(batch).value(), {}};
  if (directory.config.head.kind == HeadKind::kMaskedLm) {
    outputs.logits = AlignedArray<float>(inputs.ids.size() * static_cast<size_t>(directory.config.vocabulary));
    const MaskedLmHead head = MaskedLmHead::Load(directory, encoder).value();
    head.Forward(outputs.hidden.data(), inputs.ids.size(), outputs.logits.data(), pool);
  } else {
    outputs.logits = AlignedArray<float>(inputs.batch * static_cast<size_t>(directory.config.head.labels));
    const ClassificationHead head = ClassificationHead::Load(directory, pool).value();
    head.Forward(outputs.hidden.data(), inputs.batch, inputs.length, outputs.logits.data(), pool);
  }
  return outputs;
}

// Compares tensor `name` of the file, if it has it. Rows where `mask` (if not null) is 0 are not compared.
bool Compare(const SafetensorsFile& io, const std::string& name, const AlignedArray<float>& actual,
             const std::vector<uint8_t>* mask) {
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
  EXPECT_LE(largest, kTolerance) << name;
  return true;
}

bool Same(const AlignedArray<float>& a, const AlignedArray<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class ModelFixture : public testing::TestWithParam<std::string> {};

TEST_P(ModelFixture, AgreesWithTheReference) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  const Result<ModelDirectory> opened = ModelDirectory::Open(GetParam());
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  const ModelDirectory& directory = opened.value();
  const SafetensorsFile io = SafetensorsFile::Open(GetParam() + "/io.safetensors").value();
  const Inputs inputs = ReadInputs(io);
  const bool per_token = directory.config.head.kind == HeadKind::kMaskedLm;
  for (const bool masked : {false, true}) {
    const std::string suffix = masked ? "" : "_nomask";
    std::optional<Outputs> one_thread;
    for (const size_t threads : {1, 2, 3}) {
      Outputs outputs = RunModel(directory, inputs, masked, threads);
      if (one_thread) {
        EXPECT_TRUE(Same(outputs.hidden, one_thread->hidden)) << threads << " threads";
        EXPECT_TRUE(Same(outputs.logits, one_thread->logits)) << threads << " threads";
        continue;
      }
      Compare(io, "hidden" + suffix, outputs.hidden, masked ? &inputs.mask : nullptr);
      EXPECT_TRUE(Compare(io, "logits" + suffix, outputs.logits, masked && per_token ? &inputs.mask : nullptr));
      one_thread = std::move(outputs);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Crammed, ModelFixture, testing::ValuesIn(test::FixtureFiles("crammed", "", "")),
                         test::FixtureName);

}  // namespace
}  // namespace grove
