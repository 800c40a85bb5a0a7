// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The two products are each other's derivatives: of the dots with respect to x it is the sum, of the sums with respect
// to the weights the dots; both scatter outer products into the table's gradient.
#include "grove/nn/sparse_rows.h"

#include <algorithm>
#include <vector>

#ifdef GROVE_CUDA
#include "grove/nn/cuda/sparse_rows_kernels.h"
#include "grove/nn/cuda_tensor.h"
#endif

namespace grove::nn {
namespace {

#ifdef GROVE_CUDA
// One kernel that gathers nothing; fp32 tables whose rows start on 16 bytes.
bool HasKernel(const torch::Tensor& table) {
  return table.is_cuda() && table.scalar_type() == torch::kFloat && table.is_contiguous() && table.size(1) % 4 == 0;
}
cuda::SparseRows Arguments(const torch::Tensor& rows, int64_t width) {
  return {rows.size(0), rows.size(1), width, rows.data_ptr<int64_t>()};
}
#endif

constexpr int64_t kGatheredElements = int64_t{1} << 24;  // of one chunk of tokens

int64_t ChunkTokens(const torch::Tensor& table, const torch::Tensor& rows) {
  const int64_t of_token = std::max<int64_t>(1, rows.size(1) * table.size(1));
  return std::max<int64_t>(1, kGatheredElements / of_token);
}

// body(first token, tokens) for chunks of bounded size.
template <class Body>
void ForEachChunk(const torch::Tensor& table, const torch::Tensor& rows, const Body& body) {
  const int64_t chunk = ChunkTokens(table, rows), tokens = rows.size(0);
  for (int64_t first = 0; first < tokens; first += chunk) body(first, std::min(chunk, tokens - first));
}

// [tokens, n, width]
torch::Tensor Gather(const torch::Tensor& table, const torch::Tensor& rows) {
  return table.index_select(0, rows.flatten()).view({rows.size(0), rows.size(1), table.size(1)});
}

// All in the table's type.
torch::Tensor Dots(const torch::Tensor& table, const torch::Tensor& rows, const torch::Tensor& x) {
  const torch::Tensor dots = torch::empty(rows.sizes(), table.options());
#ifdef GROVE_CUDA
  if (HasKernel(table)) {
    const torch::Tensor r = rows.contiguous(), v = x.contiguous();
    cuda::RowDots(Arguments(r, table.size(1)), table.data_ptr<float>(), v.data_ptr<float>(), dots.data_ptr<float>(),
                  CurrentStream());
    return dots;
  }
#endif
  ForEachChunk(table, rows, [&](int64_t first, int64_t count) {
    const torch::Tensor gathered = Gather(table, rows.narrow(0, first, count));
    dots.narrow(0, first, count).copy_(torch::bmm(gathered, x.narrow(0, first, count).unsqueeze(-1)).squeeze(-1));
  });
  return dots;
}

torch::Tensor Sums(const torch::Tensor& table, const torch::Tensor& rows, const torch::Tensor& weights) {
  const torch::Tensor sums = torch::empty({rows.size(0), table.size(1)}, table.options());
#ifdef GROVE_CUDA
  if (HasKernel(table)) {
    const torch::Tensor r = rows.contiguous(), w = weights.contiguous();
    cuda::RowSums(Arguments(r, table.size(1)), table.data_ptr<float>(), w.data_ptr<float>(), sums.data_ptr<float>(),
                  CurrentStream());
    return sums;
  }
#endif
  ForEachChunk(table, rows, [&](int64_t first, int64_t count) {
    const torch::Tensor gathered = Gather(table, rows.narrow(0, first, count));
    sums.narrow(0, first, count).copy_(torch::bmm(weights.narrow(0, first, count).unsqueeze(1), gathered).squeeze(1));
  });
  return sums;
}

// The gradient of a table from each token's weights [tokens, n] and its vector [tokens, width].
torch::Tensor Scatter(const torch::Tensor& table, const torch::Tensor& rows, const torch::Tensor& weights,
                      const torch::Tensor& vectors) {
  torch::Tensor gradient = torch::zeros_like(table);
#ifdef GROVE_CUDA
  if (HasKernel(table)) {
    const torch::Tensor r = rows.contiguous(), w = weights.contiguous(), v = vectors.contiguous();
    cuda::RowScatter(Arguments(r, table.size(1)), w.data_ptr<float>(), v.data_ptr<float>(), gradient.data_ptr<float>(),
                     CurrentStream());
    return gradient;
  }
#endif
  ForEachChunk(table, rows, [&](int64_t first, int64_t count) {
    const torch::Tensor outer =
        weights.narrow(0, first, count).unsqueeze(-1) * vectors.narrow(0, first, count).unsqueeze(1);
    gradient.index_add_(0, rows.narrow(0, first, count).flatten(), outer.flatten(0, 1));
  });
  return gradient;
}

class RowDotsFunction : public torch::autograd::Function<RowDotsFunction> {
 public:
  using Context = torch::autograd::AutogradContext;
  static torch::Tensor forward(Context* context, const torch::Tensor& table, const torch::Tensor& rows,
                               const torch::Tensor& x) {
    context->save_for_backward({table, rows, x});
    return Dots(table, rows, x.to(table.scalar_type()));
  }
  static torch::autograd::variable_list backward(Context* context, torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &table = saved[0], &rows = saved[1], &x = saved[2];
    const torch::Tensor d = gradients[0].to(table.scalar_type());
    torch::Tensor dtable, dx;
    if (context->needs_input_grad(0)) dtable = Scatter(table, rows, d, x.to(table.scalar_type()));
    if (context->needs_input_grad(2)) dx = Sums(table, rows, d).to(x.scalar_type());
    return {dtable, {}, dx};
  }
};

class RowSumsFunction : public torch::autograd::Function<RowSumsFunction> {
 public:
  using Context = torch::autograd::AutogradContext;
  static torch::Tensor forward(Context* context, const torch::Tensor& table, const torch::Tensor& rows,
                               const torch::Tensor& weights) {
    context->save_for_backward({table, rows, weights});
    return Sums(table, rows, weights.to(table.scalar_type()));
  }
  static torch::autograd::variable_list backward(Context* context, torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &table = saved[0], &rows = saved[1], &weights = saved[2];
    const torch::Tensor d = gradients[0].to(table.scalar_type());
    torch::Tensor dtable, dweights;
    if (context->needs_input_grad(0)) dtable = Scatter(table, rows, weights.to(table.scalar_type()), d);
    if (context->needs_input_grad(2)) dweights = Dots(table, rows, d).to(weights.scalar_type());
    return {dtable, {}, dweights};
  }
};

}  // namespace

torch::Tensor RowDots(const torch::Tensor& table, const torch::Tensor& rows, const torch::Tensor& x) {
  return RowDotsFunction::apply(table, rows, x);
}

torch::Tensor RowSums(const torch::Tensor& table, const torch::Tensor& rows, const torch::Tensor& weights) {
  return RowSumsFunction::apply(table, rows, weights);
}

}  // namespace grove::nn
