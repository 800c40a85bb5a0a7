// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What surrounds the matrix products of a block, as single operations with gradients. Under bf16 autocast on a GPU each
// is one kernel (nn/cuda/fused_kernels.h); elsewhere it is the plain chain of tensor operations that defines it.
#pragma once

#include "grove/nn/torch_compat.h"

namespace grove::nn {

// The pre-norm residual step: sum = h + delta, normalized = norm(sum). h and sum [.., width] are the residual stream,
// fp32. delta may be undefined: then sum is h. On the fused path `normalized` is bf16, ready for a product.
struct Residual {
  torch::Tensor sum, normalized;
};
Residual AddNorm(const torch::Tensor& h, const torch::Tensor& delta, torch::nn::LayerNorm& norm);

// Mean over the rows of -log softmax(logits)[label], natural log; 0 for no rows. logits [rows, classes], labels [rows]
// int64.
torch::Tensor MeanCrossEntropy(const torch::Tensor& logits, const torch::Tensor& labels);

}  // namespace grove::nn
