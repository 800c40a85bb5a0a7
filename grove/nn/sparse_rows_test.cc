// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The kernels against the gathering form in double precision on the CPU. Needs a GPU; skips without one.
#include "grove/nn/sparse_rows.h"

#include <gtest/gtest.h>

namespace grove::nn {
namespace {

double RelativeError(const torch::Tensor& out, const torch::Tensor& reference) {
  return (out.detach().cpu().to(torch::kDouble) - reference.detach()).norm().item<double>() /
         reference.detach().norm().item<double>();
}

TEST(SparseRows, KernelsEqualTheGatheringForm) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU here";
  torch::manual_seed(5);
  struct Case {
    int64_t tokens, n, width, entries;
  };
  for (const Case& c : {Case{300, 64, 384, 4096}, Case{1, 1, 4, 3}, Case{77, 5, 1028, 9}}) {
    SCOPED_TRACE(testing::Message() << c.tokens << " tokens, " << c.n << " rows of " << c.width);
    const torch::Tensor rows = torch::randint(c.entries, {c.tokens, c.n}, torch::kLong);
    const torch::Tensor table = torch::randn({c.entries, c.width}, torch::kDouble).requires_grad_();
    const torch::Tensor x = torch::randn({c.tokens, c.width}, torch::kDouble).requires_grad_();
    const torch::Tensor table_gpu = table.detach().to(torch::kCUDA, torch::kFloat).requires_grad_();
    const torch::Tensor x_gpu = x.detach().to(torch::kCUDA, torch::kFloat).requires_grad_();
    const torch::Tensor rows_gpu = rows.to(torch::kCUDA);
    const torch::Tensor y = RowSums(table, rows, RowDots(table, rows, x).tanh());
    const torch::Tensor y_gpu = RowSums(table_gpu, rows_gpu, RowDots(table_gpu, rows_gpu, x_gpu).tanh());
    y.square().sum().backward();
    y_gpu.square().sum().backward();
    EXPECT_LT(RelativeError(y_gpu, y), 1e-4);
    EXPECT_LT(RelativeError(x_gpu.grad(), x.grad()), 1e-3);
    EXPECT_LT(RelativeError(table_gpu.grad(), table.grad()), 1e-4);
  }
}

}  // namespace
}  // namespace grove::nn
