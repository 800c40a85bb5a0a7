// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Values, gradients, entropies and hardening gradients of the reference implementations, 1e-5 relative (largest
// difference over largest expected value), for the scalar reference and for every instruction set.
#include <gtest/gtest.h>

#include "grove/io/safetensors.h"
#include "grove/kernels/test_cases.h"
#include "tests/fixtures.h"

namespace grove {
namespace {

using test::FixtureFiles;
using test::FixtureName;
using test::LeafTreeGradientBuffers;
using test::NeuronTreeGradientBuffers;
using test::OnEveryTarget;
using test::RelativeError;

constexpr double kTolerance = 1e-5;

class GoldenFile {
 public:
  explicit GoldenFile(const std::string& path) {
    Result<SafetensorsFile> file = SafetensorsFile::Open(path);
    if (!file.ok()) throw std::runtime_error(file.error().message());
    file_ = std::make_unique<SafetensorsFile>(std::move(file).value());
  }
  std::span<const float> operator[](const std::string& name) {
    if (!cache_.contains(name)) {
      const auto& view = file_->tensors().at(name);
      auto values = file_->ReadFloats(name, view.shape);
      if (!values.ok()) throw std::runtime_error(values.error().message());
      cache_.emplace(name, std::move(values).value());
    }
    return cache_.at(name).span();
  }
  bool Has(const std::string& name) const { return file_->Has(name); }
  size_t Number(const std::string& key) const { return std::stoul(file_->metadata().at(key)); }
  size_t Rows(const std::string& name) const { return static_cast<size_t>(file_->tensors().at(name).shape.at(0)); }
  Activation GetActivation() const {
    return file_->metadata().at("activation") == "relu" ? Activation::kRelu : Activation::kGelu;
  }

 private:
  std::unique_ptr<SafetensorsFile> file_;
  std::map<std::string, AlignedArray<float>> cache_;
};

class TreeFixture : public testing::TestWithParam<std::string> {};

TEST_P(TreeFixture, ForwardAndBackward) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  GoldenFile golden(GetParam());
  const NeuronTreeShape shape{.width = golden.Number("width"),
                              .trees = golden.Number("trees"),
                              .depth = golden.Number("depth"),
                              .activation = golden.GetActivation()};
  const NeuronTreeWeights weights{golden["linear_in.weight"].data(), golden["linear_in.bias"].data(),
                                  golden["linear_out.weight"].data(), nullptr};
  const size_t tokens = golden.Rows("x");
  const float* x = golden["x"].data();
  const std::span<const float> y_golden = golden["y"];  // dy of 0.5 * sum(y^2) is y
  std::vector<float> y(y_golden.size());
  const auto check = [&](const NeuronTreeGradientBuffers& g) {
    EXPECT_LT(RelativeError(y, y_golden), kTolerance);
    EXPECT_LT(RelativeError(g.dx, golden["grad_x"]), kTolerance);
    EXPECT_LT(RelativeError(g.dw_in, golden["grad_linear_in.weight"]), kTolerance);
    EXPECT_LT(RelativeError(g.db_in, golden["grad_linear_in.bias"]), kTolerance);
    EXPECT_LT(RelativeError(g.dw_out, golden["grad_linear_out.weight"]), kTolerance);
  };
  NeuronTreeGradientBuffers reference(shape, tokens);
  NeuronTreeForwardReference(shape, weights, x, tokens, y.data(), nullptr);
  NeuronTreeBackwardReference(shape, weights, x, y_golden.data(), tokens, reference.view());
  check(reference);

  const PackedNeuronTree packed(shape, weights);
  std::vector<uint32_t> nodes(tokens * shape.trees * shape.levels());
  std::vector<float> logits(nodes.size());
  const NeuronTreeTrace trace{nodes.data(), logits.data()};
  ThreadPool pool(2);
  OnEveryTarget([&] {
    NeuronTreeGradientBuffers fast(shape, tokens);
    NeuronTreeForward(packed, x, tokens, y.data(), &trace, pool);
    NeuronTreeBackward(packed, x, trace, y_golden.data(), tokens, fast.view(), pool);
    check(fast);
  });
}

INSTANTIATE_TEST_SUITE_P(Files, TreeFixture, testing::ValuesIn(FixtureFiles("fff", "tree_", ".safetensors")),
                         FixtureName);

class SoftFixture : public testing::TestWithParam<std::string> {
 protected:
  static LeafTreeShape ShapeOf(const GoldenFile& golden) {
    return {.in_width = golden.Number("input_width"),
            .leaf_width = golden.Number("leaf_width"),
            .out_width = golden.Number("output_width"),
            .depth = golden.Number("depth"),
            .activation = golden.GetActivation()};
  }
  static LeafTreeWeights WeightsOf(GoldenFile& golden) {
    return {golden["node_weights"].data(), golden["node_biases"].data(), golden["w1s"].data(),
            golden["b1s"].data(),          golden["w2s"].data(),         golden["b2s"].data()};
  }
};

TEST_P(SoftFixture, HardForward) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  GoldenFile golden(GetParam());
  const LeafTreeShape shape = ShapeOf(golden);
  const LeafTreeWeights weights = WeightsOf(golden);
  const size_t tokens = golden.Rows("x");
  std::vector<float> y(tokens * shape.out_width);
  LeafTreeForwardReference(shape, weights, golden["x"].data(), tokens, y.data(), nullptr);
  EXPECT_LT(RelativeError(y, golden["y_hard"]), kTolerance);
  const PackedLeafTree packed(shape, weights);
  ThreadPool pool(2);
  OnEveryTarget([&] {
    LeafTreeForward(packed, golden["x"].data(), tokens, y.data(), nullptr, pool);
    EXPECT_LT(RelativeError(y, golden["y_hard"]), kTolerance);
  });
}

TEST_P(SoftFixture, SoftForwardAndBackward) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  GoldenFile golden(GetParam());
  LeafTreeShape shape = ShapeOf(golden);
  shape.paths = shape.leaves();
  const LeafTreeWeights weights = WeightsOf(golden);
  const size_t tokens = golden.Rows("x");
  const float* x = golden["x"].data();
  const std::span<const float> y_golden = golden["y_soft"];  // dy of 0.5 * sum(y^2) is y
  std::vector<float> y(y_golden.size()), gates(tokens * shape.paths);
  std::vector<uint32_t> leaves(gates.size());
  const LeafTreeTrace trace{leaves.data(), gates.data()};
  const auto check = [&](const LeafTreeGradientBuffers& g) {
    EXPECT_LT(RelativeError(y, y_golden), kTolerance);
    EXPECT_LT(RelativeError(g.dx, golden["grad_x"]), kTolerance);
    EXPECT_LT(RelativeError(g.dnode_weights, golden["grad_node_weights"]), kTolerance);
    EXPECT_LT(RelativeError(g.dnode_biases, golden["grad_node_biases"]), kTolerance);
    EXPECT_LT(RelativeError(g.dw1, golden["grad_w1s"]), kTolerance);
    EXPECT_LT(RelativeError(g.db1, golden["grad_b1s"]), kTolerance);
    EXPECT_LT(RelativeError(g.dw2, golden["grad_w2s"]), kTolerance);
    EXPECT_LT(RelativeError(g.db2, golden["grad_b2s"]), kTolerance);
  };
  LeafTreeGradientBuffers reference(shape, tokens);
  LeafTreeForwardReference(shape, weights, x, tokens, y.data(), &trace);
  LeafTreeBackwardReference(shape, weights, x, trace, y_golden.data(), tokens, reference.view());
  check(reference);
  const PackedLeafTree packed(shape, weights);
  ThreadPool pool(2);
  OnEveryTarget([&] {
    LeafTreeGradientBuffers fast(shape, tokens);
    LeafTreeForward(packed, x, tokens, y.data(), &trace, pool);
    LeafTreeBackward(packed, x, trace, y_golden.data(), tokens, fast.view(), pool);
    check(fast);
  });
}

TEST_P(SoftFixture, EntropyAndHardeningGradients) {
  GROVE_FIXTURE_OR_SKIP(GetParam());
  GoldenFile golden(GetParam());
  const LeafTreeShape shape = ShapeOf(golden);
  if (shape.depth == 0) return;  // no decisions, nothing stored
  const LeafTreeWeights weights = WeightsOf(golden);
  const size_t tokens = golden.Rows("x");
  std::vector<float> entropy(shape.decisions());
  LeafTreeEntropyReference(shape, weights, golden["x"].data(), tokens, entropy.data());
  EXPECT_LT(RelativeError(entropy, golden["entropy"]), kTolerance);
  LeafTreeGradientBuffers g(shape, tokens);
  LeafTreeEntropyBackwardReference(shape, weights, golden["x"].data(), tokens, g.view());
  EXPECT_LT(RelativeError(g.dx, golden["harden_grad_x"]), kTolerance);
  EXPECT_LT(RelativeError(g.dnode_weights, golden["harden_grad_node_weights"]), kTolerance);
  EXPECT_LT(RelativeError(g.dnode_biases, golden["harden_grad_node_biases"]), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Files, SoftFixture, testing::ValuesIn(FixtureFiles("fff", "soft_", ".safetensors")),
                         FixtureName);

}  // namespace
}  // namespace grove
