// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/model/forward_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "grove/model/random_model.h"
#include "tests/temporary_folder.h"

namespace grove {
namespace {

class ForwardFileTest : public testing::Test {
 protected:
  LoadedModel Load(const ModelConfig& config) {
    tensors_ = test::MakeRandomTensors(config, 11);
    test::WriteModel(folder_.path(), config, tensors_);
    Result<LoadedModel> model = LoadModel(folder_.path(), &pool_, {.tokenizer = false});
    EXPECT_TRUE(model.ok()) << (model.ok() ? "" : model.error().message());
    return std::move(model).value();
  }

  void WriteInput(const std::vector<int64_t>& ids, const Shape& shape, const std::vector<int64_t>& mask = {},
                  const std::vector<int64_t>& types = {}) {
    TensorMap tensors = {{"input_ids", ViewOf(ids, shape)}};
    if (!mask.empty()) tensors["attention_mask"] = ViewOf(mask, {static_cast<int64_t>(mask.size())});
    if (mask.size() == ids.size()) tensors["attention_mask"].shape = shape;
    if (!types.empty()) tensors["token_type_ids"] = ViewOf(types, shape);
    ASSERT_TRUE(WriteSafetensors(input_, tensors, {}).ok());
  }

  void ExpectRefused(const LoadedModel& model, const std::string& word) {
    const Result<ForwardFileReport> report = ForwardFile(model, input_, output_);
    ASSERT_FALSE(report.ok()) << word;
    EXPECT_NE(report.error().message().find(input_), std::string::npos) << report.error().message();
    EXPECT_NE(report.error().message().find(word), std::string::npos) << report.error().message();
    EXPECT_FALSE(std::filesystem::exists(output_));
  }

  test::TemporaryFolder folder_;
  std::string input_ = folder_.path() + "/in.safetensors", output_ = folder_.path() + "/out.safetensors";
  test::RandomTensors tensors_;
  ThreadPool pool_{2};
};

TEST_F(ForwardFileTest, WritesHiddenAndLogitsOfAMaskedLm) {
  const ModelConfig config = test::SmallConfig();
  const LoadedModel model = Load(config);
  WriteInput({1, 2, 3, 4, 5, 6}, {2, 3}, {1, 1, 1, 1, 1, 0}, {0, 0, 0, 0, 0, 0});
  const Result<ForwardFileReport> report = ForwardFile(model, input_, output_);
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report.value().at("hidden"), (Shape{2, 3, 20}));
  EXPECT_EQ(report.value().at("logits"), (Shape{2, 3, 40}));
  const SafetensorsFile output = SafetensorsFile::Open(output_).value();
  const AlignedArray<float> hidden = output.ReadFloats("hidden", {2, 3, 20}).value();
  const AlignedArray<float> logits = output.ReadFloats("logits", {2, 3, 40}).value();
  const test::PlainModel plain(config, tensors_);
  const auto rows = plain.Hidden({4, 5, 6}, {1, 1, 0});
  const auto scores = plain.MaskedLmLogits(rows);
  for (size_t t = 0; t < 2; ++t) {
    for (size_t i = 0; i < 20; ++i) EXPECT_NEAR(hidden[(3 + t) * 20 + i], rows[t][i], 1e-4);
    for (size_t i = 0; i < 40; ++i) EXPECT_NEAR(logits[(3 + t) * 40 + i], scores[t][i], 1e-4);
  }
}

TEST_F(ForwardFileTest, WritesOneRowOfLogitsPerSequenceForAClassifier) {
  ModelConfig config = test::SmallConfig();
  config.head = {.kind = HeadKind::kSequenceClassification, .labels = 3, .pooler_width = 8};
  const LoadedModel model = Load(config);
  WriteInput({1, 2, 3, 4}, {4, 1});
  EXPECT_EQ(ForwardFile(model, input_, output_).value().at("logits"), (Shape{4, 3}));
}

TEST_F(ForwardFileTest, NamesWhatIsWrongAndWritesNothing) {
  const LoadedModel model = Load(test::SmallConfig());
  ExpectRefused(model, "cannot open");
  WriteInput({}, {0, 5});
  ExpectRefused(model, "at least one token");
  WriteInput({1, 2}, {2});
  ExpectRefused(model, "[batch, length]");
  WriteInput({1, 40}, {1, 2});
  ExpectRefused(model, "40 at position 1; values must be from 0 to 39");
  WriteInput({1, -1}, {1, 2});
  ExpectRefused(model, "-1 at position 1");
  WriteInput({1, int64_t{1} << 32}, {1, 2});
  ExpectRefused(model, "4294967296 at position 1");
  WriteInput(std::vector<int64_t>(25, 1), {1, 25});
  ExpectRefused(model, "at most 24");
  WriteInput({1, 2}, {1, 2}, {1, 2});
  ExpectRefused(model, "\"attention_mask\" has 2");
  WriteInput({1, 2}, {1, 2}, {1, 1, 1});
  ExpectRefused(model, "\"attention_mask\" has shape [3]");
  WriteInput({1, 2}, {1, 2}, {}, {0, 1});
  ExpectRefused(model, "\"token_type_ids\" has 1");
  const std::vector<float> floats(2);
  ASSERT_TRUE(WriteSafetensors(input_, {{"input_ids", ViewOf(floats, {1, 2})}}, {}).ok());
  ExpectRefused(model, "dtype F32");
  ASSERT_TRUE(WriteSafetensors(input_, {}, {}).ok());
  ExpectRefused(model, "no tensor \"input_ids\"");
}

}  // namespace
}  // namespace grove
