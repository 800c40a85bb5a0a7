// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// BERT and DistilBERT against Hugging Face Transformers: 1e-4 absolute, at positions that the mask shows.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "grove/io/model_directory.h"
#include "grove/nn/bert.h"
#include "grove/nn/parameters.h"
#include "tests/fixtures.h"
#include "tests/temporary_folder.h"

namespace grove::nn {
namespace {

torch::Tensor ReadTensor(const SafetensorsFile& file, const std::string& name) {
  const auto view = file.Find(name);
  EXPECT_TRUE(view.ok()) << name;
  const torch::ScalarType dtype = view.value().dtype == DType::kI64 ? torch::kLong : torch::kFloat;
  const torch::Tensor tensor = torch::empty(view.value().shape, dtype);
  EXPECT_EQ(tensor.nbytes(), view.value().bytes.size());
  std::memcpy(tensor.data_ptr(), view.value().bytes.data(), view.value().bytes.size());
  return tensor;
}

void ExpectClose(const torch::Tensor& ours, const torch::Tensor& golden) {
  ASSERT_EQ(ours.sizes(), golden.sizes());
  EXPECT_LE((ours - golden).abs().max().item<double>(), 1e-4);
  EXPECT_GT(golden.abs().max().item<double>(), 0.01);
}

class BertFixture : public testing::TestWithParam<std::string> {};

TEST_P(BertFixture, AgreesWithTransformersAndSurvivesSaving) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  const torch::NoGradGuard no_grad;
  auto directory = ModelDirectory::Open(GetParam());
  ASSERT_TRUE(directory.ok()) << directory.error().message();
  const auto golden = SafetensorsFile::Open(GetParam() + "/io.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.error().message();
  const auto loaded = LoadTextModel(directory.value(), ModuleOptions{});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  // Nothing of the file is left over.
  EXPECT_EQ(loaded.value()->named_parameters().size(), directory.value().weights.tensors().size());

  const test::TemporaryFolder folder;
  ASSERT_TRUE(SaveModel(*loaded.value(), directory.value().config, folder.path(), {}).ok());
  const auto again = ModelDirectory::Open(folder.path());
  ASSERT_TRUE(again.ok()) << again.error().message();
  const auto saved = LoadTextModel(again.value(), ModuleOptions{});
  ASSERT_TRUE(saved.ok()) << saved.error().message();

  const auto read = [&](const char* name) { return ReadTensor(golden.value(), name); };
  const bool types = golden.value().Has("token_type_ids");
  const TextInput input{read("input_ids"), read("attention_mask"), types ? read("token_type_ids") : torch::Tensor()};
  const torch::Tensor seen = input.attention_mask.to(torch::kBool);
  for (const auto& model : {loaded.value(), saved.value()}) {
    ForwardTrace trace;
    const torch::Tensor hidden = model->Encode(input, &trace).hidden;
    EXPECT_EQ(trace.hidden.size(), static_cast<size_t>(directory.value().config.layers));
    EXPECT_EQ(trace.feed_forward_out.size(), trace.hidden.size());
    switch (directory.value().config.head.kind) {
      case HeadKind::kNone:
        ExpectClose(hidden.index({seen}), read("last_hidden_state").index({seen}));
        ExpectClose(dynamic_cast<Bert&>(*model).Pool(hidden), read("pooler_output"));
        break;
      case HeadKind::kSequenceClassification:
        ExpectClose(model->Logits(hidden, {}, {}), read("logits"));
        break;
      case HeadKind::kMaskedLm:
      case HeadKind::kTokenClassification: {
        const torch::Tensor positions = torch::nonzero(seen.flatten()).flatten();
        ExpectClose(model->Logits(hidden, {}, positions), read("logits").index({seen}));
        break;
      }
    }
  }
}

TEST_P(BertFixture, OlderNamesAndAMissingPrefixAreFound) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  auto directory = ModelDirectory::Open(GetParam());
  ASSERT_TRUE(directory.ok());
  const test::TemporaryFolder folder;
  TensorMap renamed;
  for (const auto& [name, view] : directory.value().weights.tensors()) {
    std::string older = name.starts_with("bert.") ? name.substr(5) : name;
    if (older.ends_with("LayerNorm.weight")) older.replace(older.size() - 6, 6, "gamma");
    if (older.ends_with("LayerNorm.bias")) older.replace(older.size() - 4, 4, "beta");
    renamed[older] = view;
  }
  const std::string path = folder.path() + "/model.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, renamed, {}).ok());
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok());
  const auto model = MakeTextModel(directory.value().config, ModuleOptions{});
  const Status status = LoadParameters(*model, file.value(), StoredBertName);
  EXPECT_TRUE(status.ok()) << status.error().message();
}

INSTANTIATE_TEST_SUITE_P(Bert, BertFixture, testing::ValuesIn(test::FixtureFiles("hf", "bert_", "")),
                         test::FixtureName);
INSTANTIATE_TEST_SUITE_P(DistilBert, BertFixture, testing::ValuesIn(test::FixtureFiles("hf", "distilbert_", "")),
                         test::FixtureName);

}  // namespace
}  // namespace grove::nn
