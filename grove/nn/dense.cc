// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The ordinary feedforward layer without biases: W_out act(W_in x), or the GLU variant W_out (a * gelu(b)) with
// [a; b] = W_in x, in the paper's order of the halves.
#include "grove/nn/feed_forward.h"

namespace grove::nn {
namespace {

class Dense final : public FeedForward {
 public:
  explicit Dense(const FeedForwardContext& context) : nonlinearity_(context.config.nonlinearity) {
    const int64_t in = context.config.intermediate;
    const int64_t out = nonlinearity_ == NonLinearity::kGeluGlu ? in / 2 : in;
    dense_in_ = register_module("dense_in", NormalLinear(context.width, in, context.init_std));
    dense_out_ = register_module("dense_out", NormalLinear(out, context.width, context.init_std));
  }

 protected:
  Output Compute(const torch::Tensor& x, const torch::Tensor&) override {
    return {dense_out_->forward(Hidden(dense_in_->forward(x))), {}};
  }

 private:
  torch::Tensor Hidden(const torch::Tensor& h) const {
    if (nonlinearity_ == NonLinearity::kGeluGlu) {
      const auto halves = h.chunk(2, -1);
      return halves[0] * torch::gelu(halves[1]);
    }
    return Activate(KernelActivation(nonlinearity_), h);
  }

  NonLinearity nonlinearity_;
  torch::nn::Linear dense_in_{nullptr}, dense_out_{nullptr};
};

}  // namespace

std::shared_ptr<FeedForward> MakeDense(const FeedForwardContext& context) { return std::make_shared<Dense>(context); }

}  // namespace grove::nn
