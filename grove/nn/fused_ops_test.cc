// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The fused kernels against the plain operations in fp32 on the CPU. Needs a GPU; skips without one.
#include "grove/nn/fused_ops.h"

#include <gtest/gtest.h>

namespace grove::nn {
namespace {

using torch::autograd::variable_list;

double RelativeError(const torch::Tensor& out, const torch::Tensor& reference) {
  const torch::Tensor difference = out.detach().cpu().to(torch::kDouble) - reference.detach().to(torch::kDouble);
  return difference.norm().item<double>() / reference.detach().to(torch::kDouble).norm().item<double>();
}

// bf16 has 8 bits: single values are off by up to 2^-9 of themselves.
constexpr double kBf16Error = 4e-3;

class FusedOps : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU here";
    torch::manual_seed(7);
  }
};

struct Case {
  int64_t rows, width;
  bool delta;
  torch::ScalarType delta_type;
};

torch::nn::LayerNorm RandomNorm(int64_t width) {
  torch::nn::LayerNorm norm(torch::nn::LayerNormOptions({width}).eps(1e-12));
  const torch::NoGradGuard no_grad;
  norm->weight.uniform_(0.5, 1.5);
  norm->bias.uniform_(-0.5, 0.5);
  return norm;
}

TEST_F(FusedOps, AddNormEqualsItsDefinition) {
  for (const Case& c :
       {Case{37, 768, true, torch::kBFloat16}, Case{37, 768, true, torch::kFloat}, Case{1, 4, true, torch::kBFloat16},
        Case{3000, 384, false, torch::kFloat}, Case{129, 100, true, torch::kBFloat16},
        Case{9, 2048, true, torch::kFloat}, Case{300, 1028, true, torch::kBFloat16}}) {
    SCOPED_TRACE(testing::Message() << c.rows << " x " << c.width << (c.delta ? "" : ", no delta"));
    auto norm = RandomNorm(c.width), norm_gpu = RandomNorm(c.width);
    {
      const torch::NoGradGuard no_grad;
      norm_gpu->weight.copy_(norm->weight);
      norm_gpu->bias.copy_(norm->bias);
    }
    norm_gpu->to(torch::kCUDA);
    const torch::Tensor h = (torch::randn({c.rows, c.width}) * 3 + 1).requires_grad_();
    torch::Tensor delta =
        c.delta ? torch::randn({c.rows, c.width}).to(c.delta_type).to(torch::kFloat) : torch::Tensor();
    torch::Tensor delta_gpu;
    if (c.delta) {
      delta_gpu = delta.to(torch::kCUDA, c.delta_type).requires_grad_();
      delta.requires_grad_();
    }
    const torch::Tensor h_gpu = h.detach().to(torch::kCUDA).requires_grad_();
    const torch::Tensor d_sum = torch::randn_like(h), d_normalized = torch::randn_like(h).to(torch::kBFloat16);

    const Residual expected = AddNorm(h, delta, norm);
    ((expected.sum * d_sum).sum() + (expected.normalized * d_normalized.to(torch::kFloat)).sum()).backward();
    Residual fused;
    {
      const AutocastScope autocast(true);
      fused = AddNorm(h_gpu, delta_gpu, norm_gpu);
    }
    ASSERT_EQ(fused.normalized.scalar_type(), torch::kBFloat16);  // else the fused path was not taken
    torch::autograd::backward({fused.sum, fused.normalized}, {d_sum.to(torch::kCUDA), d_normalized.to(torch::kCUDA)});

    EXPECT_LT(RelativeError(fused.sum, expected.sum), 1e-6);
    EXPECT_LT(RelativeError(fused.normalized, expected.normalized), kBf16Error);
    EXPECT_LT(RelativeError(h_gpu.grad(), h.grad()), 1e-5);
    EXPECT_LT(RelativeError(norm_gpu->weight.grad(), norm->weight.grad()), 1e-5);
    EXPECT_LT(RelativeError(norm_gpu->bias.grad(), norm->bias.grad()), 1e-5);
    if (c.delta) {
      EXPECT_LT(RelativeError(delta_gpu.grad().to(torch::kFloat), delta.grad()), kBf16Error);
    }
  }
}

TEST_F(FusedOps, MeanCrossEntropyEqualsItsDefinition) {
  for (const auto& [rows, classes] : std::vector<std::pair<int64_t, int64_t>>{{1, 8}, {33, 6144}, {257, 32768}}) {
    SCOPED_TRACE(testing::Message() << rows << " x " << classes);
    const torch::Tensor bf16 = (torch::randn({rows, classes}) * 4).to(torch::kBFloat16);
    const torch::Tensor labels = torch::randint(classes, {rows}, torch::kLong);
    const torch::Tensor reference = bf16.to(torch::kFloat).requires_grad_();
    const torch::Tensor logits = bf16.to(torch::kCUDA).requires_grad_();
    const torch::Tensor expected = MeanCrossEntropy(reference, labels);
    const torch::Tensor fused = MeanCrossEntropy(logits, labels.to(torch::kCUDA));
    (expected * 3).backward();
    (fused * 3).backward();
    EXPECT_LT(RelativeError(fused, expected), 1e-5);
    EXPECT_LT(RelativeError(logits.grad(), reference.grad()), kBf16Error);
  }
}

}  // namespace
}  // namespace grove::nn
