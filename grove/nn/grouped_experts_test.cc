// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The grouped form against its definition in fp32 on the CPU. Needs a GPU; skips without one.
#include "grove/nn/grouped_experts.h"

#include <gtest/gtest.h>

#include "grove/nn/feed_forward.h"

namespace grove::nn {
namespace {

double RelativeError(const torch::Tensor& out, const torch::Tensor& reference) {
  const torch::Tensor a = out.detach().cpu().to(torch::kDouble), b = reference.detach().to(torch::kDouble);
  return (a - b).norm().item<double>() / b.norm().item<double>();
}

// Expert by expert, as the formula in the header says.
torch::Tensor Plain(const torch::Tensor& x, const torch::Tensor& chosen, const torch::Tensor& gates,
                    const ExpertWeights& w, Activation activation) {
  torch::Tensor y = torch::zeros({x.size(0), w.w2s.size(2)});
  for (int64_t path = 0; path < chosen.size(1); ++path) {
    const torch::Tensor e = chosen.select(1, path);
    const torch::Tensor h = torch::bmm(x.unsqueeze(1), w.w1s.index_select(0, e)).squeeze(1) + w.b1s.index_select(0, e);
    const torch::Tensor out = torch::bmm(Activate(activation, h).unsqueeze(1), w.w2s.index_select(0, e)).squeeze(1);
    y = y + gates.select(1, path).unsqueeze(1) * (out + w.b2s.index_select(0, e));
  }
  return y;
}

struct Case {
  int64_t tokens, width, experts, hidden, paths;
  Activation activation;
};

void Check(const Case& c) {
  torch::manual_seed(11);
  const auto values = [](at::IntArrayRef shape, double scale) {  // that bf16 can hold, so that rounding is not the test
    return (torch::randn(shape) * scale).to(torch::kBFloat16).to(torch::kFloat);
  };
  const torch::Tensor chosen =
      std::get<1>((torch::rand({c.tokens, c.experts}) * torch::linspace(0.2, 1, c.experts)).topk(c.paths, 1));
  std::vector<torch::Tensor> cpu = {values({c.tokens, c.width}, 1),
                                    torch::rand({c.tokens, c.paths}),
                                    values({c.experts, c.width, c.hidden}, 0.1),
                                    values({c.experts, c.hidden}, 0.5),
                                    values({c.experts, c.hidden, c.width}, 0.1),
                                    values({c.experts, c.width}, 0.5)};
  std::vector<torch::Tensor> gpu;
  for (torch::Tensor& t : cpu) {
    gpu.push_back(t.detach().to(torch::kCUDA).requires_grad_());
    t.requires_grad_();
  }
  const torch::Tensor dy = values({c.tokens, c.width}, 1);
  const torch::Tensor expected = Plain(cpu[0], chosen, cpu[1], {cpu[2], cpu[3], cpu[4], cpu[5]}, c.activation);
  expected.backward(dy);
  torch::Tensor y;
  {
    const AutocastScope autocast(true);
    const ExpertWeights weights{gpu[2], gpu[3], gpu[4], gpu[5]};
    y = GroupedExperts(gpu[0], chosen.to(torch::kCUDA), gpu[1], weights, c.activation);
  }
  y.backward(dy.to(torch::kCUDA, torch::kBFloat16));
  EXPECT_LT(RelativeError(y, expected), 1e-2);
  const char* names[] = {"x", "gates", "w1s", "b1s", "w2s", "b2s"};
  for (size_t i = 0; i < cpu.size(); ++i) EXPECT_LT(RelativeError(gpu[i].grad(), cpu[i].grad()), 1e-2) << names[i];
}

TEST(GroupedExperts, EqualsItsDefinition) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU here";
  for (const Case& c : {Case{500, 64, 8, 16, 2, Activation::kGelu}, Case{1, 8, 4, 8, 1, Activation::kRelu},
                        Case{3000, 384, 32, 48, 4, Activation::kGelu}, Case{70, 128, 256, 8, 16, Activation::kGelu},
                        Case{2000, 192, 16, 128, 1, Activation::kRelu}, Case{4000, 64, 1500, 16, 2, Activation::kGelu},
                        Case{20, 64, 2048, 8, 1, Activation::kGelu}}) {
    SCOPED_TRACE(testing::Message() << c.tokens << " tokens, width " << c.width << ", " << c.experts << " experts of "
                                    << c.hidden << ", " << c.paths << " paths");
    Check(c);
  }
}

}  // namespace
}  // namespace grove::nn
