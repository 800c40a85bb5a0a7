// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Products with a few rows of a large table for each token, without a product with the whole table: single neurons that
// routing has chosen. Both have gradients for the table and the other operand; memory beside the results is bounded,
// because rows are gathered again in the backward pass. Any device, fp32 or double tables.
#pragma once

#include "grove/nn/torch_compat.h"

namespace grove::nn {

// dots[t, j] = table[rows[t, j]] . x[t].   table [entries, width], rows [tokens, n] int64, x [tokens, width]
torch::Tensor RowDots(const torch::Tensor& table, const torch::Tensor& rows, const torch::Tensor& x);

// y[t] = sum over j of weights[t, j] table[rows[t, j]].   weights [tokens, n] -> [tokens, width]
torch::Tensor RowSums(const torch::Tensor& table, const torch::Tensor& rows, const torch::Tensor& weights);

}  // namespace grove::nn
