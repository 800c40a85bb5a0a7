// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Single neurons found by product keys: PEER, "Mixture of A Million Experts", arXiv 2407.04153, on the product keys of
// arXiv 1907.05242. S^2 neurons, each a pair of a first half's and a second half's sub-key. For every head:
//
//   q = norm(W_q x)                                        [key_width]
//   s1 = C1 q_first, s2 = C2 q_second                      [S] each
//   the k largest s1[i] + s2[j]                            among pairs of the k largest of each half: exact, and of
//   those
//                                                          k x k only the pairs of ranks a, b with a b <= k: all a b
//                                                          pairs of better or equal ranks score at least as much
//   y += sum over them of softmax(score) act(w_in[iS + j] . x) w_out[iS + j]
//
// Heads share neurons and sub-keys, as in PEER. Ours: a layer norm of the queries in place of PEER's batch norm, which
// would make a token's result depend on its batch and on how a batch is split over processes; and the balance loss
// (tree_routing.h), on the choices among sub-keys of each half.
#include <cmath>
#include <utility>
#include <vector>

#include "grove/nn/feed_forward.h"
#include "grove/nn/sparse_rows.h"
#include "grove/nn/tree_routing.h"

namespace grove::nn {
namespace {

class ProductKey final : public FeedForward {
 public:
  explicit ProductKey(const FeedForwardContext& context)
      : form_(context.options.form),
        balance_(BalanceWeight(context.config, context.options)),
        activation_(KernelActivation(context.config.nonlinearity)),
        heads_(context.config.key_heads),
        sub_keys_(context.config.sub_keys),
        half_(context.config.key_width / 2),
        top_k_(context.config.top_k) {
    // Queries and sub-keys that start with scores of spread about 1 in each half.
    const double query_std = 1.0 / std::sqrt(static_cast<double>(context.width));
    const double key_std = 1.0 / std::sqrt(static_cast<double>(half_));
    const int64_t neurons = sub_keys_ * sub_keys_;
    query_ = register_module("query", NormalLinear(context.width, heads_ * 2 * half_, query_std));
    query_norm_ = register_module("query_norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({2 * half_})));
    keys_ = register_parameter("sub_keys", NormalInit({2, sub_keys_, half_}, key_std));
    in_ = register_parameter("neurons_in", NormalInit({neurons, context.width}, context.init_std));
    out_ = register_parameter("neurons_out", NormalInit({neurons, context.width}, context.init_std));
    RegisterAlwaysOn(context);
  }

  UnitLayout Units() const override {
    UnitLayout layout;
    layout.unit_level.assign(static_cast<size_t>(sub_keys_ * sub_keys_), 0);
    layout.parameters = {{"neurons_in", in_, 0}, {"neurons_out", out_, 0}};
    return layout;
  }

 protected:
  Output Compute(const torch::Tensor& x, const torch::Tensor&) override {
    const int64_t tokens = x.size(0);
    const torch::Tensor queries = query_norm_->forward(query_->forward(x).view({tokens * heads_, 2 * half_}));
    torch::Tensor top[2], index[2], regularizer;  // of each half, [tokens x heads, k]
    for (int64_t side = 0; side < 2; ++side) {
      const torch::Tensor scores =
          InFullPrecision(torch::matmul(queries.narrow(1, side * half_, half_), keys_[side].t()));
      std::tie(top[side], index[side]) = scores.topk(top_k_, 1);
      if (!is_training() || balance_ <= 0) continue;
      const torch::Tensor loss =
          BalanceLoss(torch::softmax(scores, 1).mean(0), index[side], sub_keys_) * (0.5 * balance_);
      regularizer = regularizer.defined() ? regularizer + loss : loss;
    }
    const auto& [first, second] = CandidatePairs(x.device());
    const torch::Tensor pairs = top[0].index_select(1, first) + top[1].index_select(1, second);
    const torch::Tensor names = index[0].index_select(1, first) * sub_keys_ + index[1].index_select(1, second);
    const auto [best, place] = pairs.topk(top_k_, 1);
    const torch::Tensor chosen = names.gather(1, place).view({tokens, heads_ * top_k_});
    const torch::Tensor gates = torch::softmax(best, 1).view({tokens, heads_ * top_k_});
    if (Collecting()) RecordVisits(chosen, tokens);
    return {ComputeAll(x) ? MaskedDense(x, chosen, gates) : Sparse(x, chosen, gates), regularizer};
  }

 private:
  // A GPU multiplies by all neurons faster than it gathers the rows of a few: about as fast as by one in 200 of them.
  bool ComputeAll(const torch::Tensor& x) const {
    constexpr int64_t kFewStored = 128;  // for each neuron found
    return form_ == TreeForm::kMaskedDense || (x.is_cuda() && in_.size(0) <= kFewStored * heads_ * top_k_);
  }

  // Ranks of the pairs that can be among the k best: about k ln k of k x k. Kept, so that no step copies to the device.
  const std::pair<torch::Tensor, torch::Tensor>& CandidatePairs(const torch::Device& device) {
    if (!candidates_.first.defined() || candidates_.first.device() != device) {
      std::vector<int64_t> first, second;
      for (int64_t a = 1; a <= top_k_; ++a) {
        for (int64_t b = 1; a * b <= top_k_; ++b) {
          first.push_back(a - 1);
          second.push_back(b - 1);
        }
      }
      candidates_ = {torch::tensor(first, torch::kLong).to(device), torch::tensor(second, torch::kLong).to(device)};
    }
    return candidates_;
  }

  torch::Tensor Sparse(const torch::Tensor& x, const torch::Tensor& chosen, const torch::Tensor& gates) const {
    return RowSums(out_, chosen, gates * Activate(activation_, RowDots(in_, chosen, x)));
  }

  // Two heads may choose the same neuron: its gates add up.
  torch::Tensor MaskedDense(const torch::Tensor& x, const torch::Tensor& chosen, const torch::Tensor& gates) const {
    const torch::Tensor h = Activate(activation_, torch::matmul(x, in_.t()));
    const torch::Tensor all = torch::zeros({x.size(0), in_.size(0)}, gates.options()).scatter_add(1, chosen, gates);
    return torch::matmul(h * all.to(h.scalar_type()), out_);
  }

  TreeForm form_;
  double balance_;
  Activation activation_;
  int64_t heads_, sub_keys_, half_, top_k_;
  torch::nn::Linear query_{nullptr};
  torch::nn::LayerNorm query_norm_{nullptr};
  torch::Tensor keys_;      // [2, sub_keys, key_width / 2]
  torch::Tensor in_, out_;  // [sub_keys^2, width]
  std::pair<torch::Tensor, torch::Tensor> candidates_;
};

}  // namespace

std::shared_ptr<FeedForward> MakeProductKey(const FeedForwardContext& context) {
  return std::make_shared<ProductKey>(context);
}

}  // namespace grove::nn
