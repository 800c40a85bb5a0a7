// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Whole models against the reference's golden files, in both forms of the tree layers. Values: 1e-4 absolute.
// Gradients: relative error ||g - reference|| / ||reference|| (Euclidean norms of the whole tensor) at most 1e-4.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "grove/io/model_directory.h"
#include "grove/nn/heads.h"
#include "grove/nn/parameters.h"
#include "tests/fixtures.h"

namespace grove::nn {
namespace {

constexpr double kAbsolute = 1e-4;
constexpr double kRelative = 1e-4;

torch::Tensor ReadTensor(const SafetensorsFile& file, const std::string& name) {
  const auto view = file.Find(name);
  EXPECT_TRUE(view.ok()) << name;
  const torch::ScalarType dtype = view.value().dtype == DType::kI64 ? torch::kLong : torch::kFloat;
  const torch::Tensor tensor = torch::empty(view.value().shape, dtype);
  EXPECT_EQ(tensor.nbytes(), view.value().bytes.size());
  std::memcpy(tensor.data_ptr(), view.value().bytes.data(), view.value().bytes.size());
  return tensor;
}

double MaxDifference(const torch::Tensor& a, const torch::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

// Positions behind the padding mask are unspecified.
double MaxDifferenceWhere(const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& mask) {
  const torch::Tensor seen = mask.to(torch::kBool);
  return MaxDifference(a.index({seen}), b.index({seen}));
}

class Fixture : public testing::TestWithParam<std::string> {
 protected:
  // Opens the directory of the parameter with its golden values.
  void Open() {
    auto opened = ModelDirectory::Open(GetParam());
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    directory_.emplace(std::move(opened).value());
    auto golden = SafetensorsFile::Open(GetParam() + "/io.safetensors");
    ASSERT_TRUE(golden.ok()) << golden.error().message();
    golden_.emplace(std::move(golden).value());
  }
  torch::Tensor Golden(const std::string& name) const { return ReadTensor(*golden_, name); }
  template <class Model>
  std::shared_ptr<Model> Load(TreeForm form) const {
    const auto model = std::make_shared<Model>(directory_->config, ModuleOptions{.form = form});
    const Status status = LoadParameters(*model, directory_->weights);
    EXPECT_TRUE(status.ok()) << status.error().message();
    model->eval();
    return model;
  }

  std::optional<ModelDirectory> directory_;
  std::optional<SafetensorsFile> golden_;
};

class MaskedLmFixture : public Fixture {};
class ClassifierFixture : public Fixture {};

TEST_P(MaskedLmFixture, LogitsAndHiddenAgree) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  ASSERT_NO_FATAL_FAILURE(Open());
  const torch::NoGradGuard no_grad;
  for (const TreeForm form : {TreeForm::kKernel, TreeForm::kMaskedDense}) {
    const auto model = Load<MaskedLm>(form);
    const torch::Tensor ids = Golden("input_ids"), mask = Golden("attention_mask");
    const MaskedLm::Output masked = model->Forward(ids, mask);
    EXPECT_LE(MaxDifferenceWhere(masked.logits, Golden("logits"), mask), kAbsolute);
    EXPECT_LE(MaxDifferenceWhere(masked.hidden, Golden("hidden"), mask), kAbsolute);
    const MaskedLm::Output full = model->Forward(ids, {});
    EXPECT_LE(MaxDifference(full.logits, Golden("logits_nomask")), kAbsolute);
    EXPECT_LE(MaxDifference(full.hidden, Golden("hidden_nomask")), kAbsolute);
  }
}

TEST_P(MaskedLmFixture, LossAndEveryGradientAgree) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  ASSERT_NO_FATAL_FAILURE(Open());
  const torch::Tensor labels = Golden("labels").flatten();
  const torch::Tensor positions = torch::nonzero(labels != -100).flatten();
  for (const TreeForm form : {TreeForm::kKernel, TreeForm::kMaskedDense}) {
    const auto model = Load<MaskedLm>(form);
    const auto loss = model->ComputeLoss(Golden("input_ids"), {}, positions, labels.index_select(0, positions));
    EXPECT_NEAR(loss.masked_lm.item<double>(), Golden("mlm_loss").item<double>(), kAbsolute);
    loss.masked_lm.backward();
    const auto parameters = model->named_parameters();
    size_t compared = 0;
    for (const auto& [name, view] : golden_->tensors()) {
      if (!name.starts_with("grad.")) continue;
      const torch::Tensor* parameter = parameters.find(name.substr(5));
      ASSERT_NE(parameter, nullptr) << name;
      const torch::Tensor reference = Golden(name);
      const double error = (parameter->grad() - reference).norm().item<double>();
      EXPECT_LE(error, kRelative * reference.norm().item<double>()) << name;
      ++compared;
    }
    EXPECT_EQ(compared, parameters.size());
  }
}

TEST_P(ClassifierFixture, LogitsAgree) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  ASSERT_NO_FATAL_FAILURE(Open());
  const torch::NoGradGuard no_grad;
  for (const TreeForm form : {TreeForm::kKernel, TreeForm::kMaskedDense}) {
    const auto model = Load<SequenceClassifier>(form);
    const torch::Tensor ids = Golden("input_ids");
    EXPECT_LE(MaxDifference(model->Forward(ids, Golden("attention_mask")), Golden("logits")), kAbsolute);
    EXPECT_LE(MaxDifference(model->Forward(ids, {}), Golden("logits_nomask")), kAbsolute);
  }
}

INSTANTIATE_TEST_SUITE_P(Crammed, MaskedLmFixture, testing::ValuesIn(test::FixtureFiles("crammed", "mlm_", "")),
                         test::FixtureName);
INSTANTIATE_TEST_SUITE_P(Crammed, ClassifierFixture, testing::ValuesIn(test::FixtureFiles("crammed", "cls_", "")),
                         test::FixtureName);

}  // namespace
}  // namespace grove::nn
