// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Models of other programs, quantized.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "grove/model/model.h"
#include "grove/model/quantize_model.h"
#include "tests/fixtures.h"
#include "tests/temporary_folder.h"

namespace grove {
namespace {

bool Go(double, const std::string&) { return true; }

bool Same(const AlignedArray<float>& a, const AlignedArray<float>& b) {
  return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
}

class QuantizedFixture : public testing::TestWithParam<std::string> {};

TEST_P(QuantizedFixture, RunsAsTheOriginalInInt8) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  const test::TemporaryFolder folder;
  ThreadPool pool(2);
  const std::string output = folder.path() + "/int8";
  ASSERT_TRUE(QuantizeModel({.model = GetParam(), .output = output}, &pool, Go).ok());
  std::vector<int32_t> ids(20);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 3 % 40);
  const TokenBatch batch{.ids = ids, .batch = 2, .length = 10};
  const LoadOptions int8{.tokenizer = false, .encoder = {.precision = Precision::kInt8}};
  const ModelOutput expected = RunModel(LoadModel(GetParam(), &pool, int8).value(), batch).value();
  const ModelOutput actual = RunModel(LoadModel(output, &pool, {.tokenizer = false}).value(), batch).value();
  EXPECT_TRUE(Same(actual.hidden, expected.hidden));
  EXPECT_TRUE(Same(actual.logits, expected.logits));
  EXPECT_TRUE(Same(actual.pooled, expected.pooled));
}

INSTANTIATE_TEST_SUITE_P(Crammed, QuantizedFixture, testing::ValuesIn(test::FixtureFiles("crammed", "", "")),
                         test::FixtureName);
INSTANTIATE_TEST_SUITE_P(HuggingFace, QuantizedFixture, testing::ValuesIn(test::FixtureFiles("hf", "", "")),
                         test::FixtureName);

}  // namespace
}  // namespace grove
