// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Mixture of experts: `experts` small nets, of which a router chooses top_k for a token. No capacity limit: no token is
// dropped. Experts have the form of a tree's leaves (gated_experts.h): width -> expert_width -> width with biases.
//
//   softmax      p = softmax(W_r x), the top_k largest p; gates p / sum of the chosen p (renormalized, as arXiv
//                2006.16668 for two) or p (probability, as arXiv 2101.03961: with top_k 1 the only form in which the
//                router learns from the task). Balance loss of arXiv 2101.03961, equation 4: tree_routing.h
//   noisy_top_k  Shazeer et al., arXiv 1701.06538, section 2.1: H = W_g x + N(0, 1) softplus(W_noise x) in training, H
//   =
//                W_g x otherwise; gates = softmax over the top_k largest H. Both matrices start at 0 (appendix A). The
//                balance weight multiplies CV(importance)^2 + CV(load)^2 (section 4, appendix A); with top_k = experts
//                every expert has the same load, and only the first is there
#include <algorithm>
#include <cmath>

#include "grove/nn/gated_experts.h"
#include "grove/nn/tree_routing.h"

namespace grove::nn {
namespace {

// Squared coefficient of variation of a vector.
torch::Tensor SquaredVariation(const torch::Tensor& values) {
  return values.var(/*unbiased=*/false) / (values.mean().square() + 1e-10);
}

torch::Tensor NormalCdf(const torch::Tensor& z) { return 0.5 * (1.0 + torch::erf(z * std::sqrt(0.5))); }

class Moe final : public FeedForward {
 public:
  explicit Moe(const FeedForwardContext& context)
      : form_(context.options.form),
        balance_(BalanceWeight(context.config, context.options)),
        activation_(KernelActivation(context.config.nonlinearity)),
        gates_(context.config.gates),
        router_kind_(context.config.router),
        count_(context.config.experts),
        top_k_(context.config.top_k) {
    const FeedForwardConfig& config = context.config;
    const bool noisy = config.router == RouterKind::kNoisyTopK;
    router_ = register_module("router", NormalLinear(context.width, count_, 0));
    if (noisy) router_noise_ = register_module("router_noise", NormalLinear(context.width, count_, 0));
    if (!noisy) {  // a normalized token's logits then start with spread about 0.6, as a leaf tree's
      const double bound = 1.0 / std::sqrt(static_cast<double>(context.width));
      const torch::NoGradGuard no_grad;
      router_->weight.uniform_(-bound, bound);
    }
    experts_ = RegisterExperts(*this, count_, context.width, config.expert_width, context.init_std);
    RegisterAlwaysOn(context);
  }

  UnitLayout Units() const override {
    UnitLayout layout;
    layout.unit_level.assign(static_cast<size_t>(count_), 0);
    layout.parameters = ExpertParameters(experts_);
    return layout;
  }

 protected:
  Output Compute(const torch::Tensor& x, const torch::Tensor&) override {
    torch::Tensor regularizer;
    const torch::Tensor logits = InFullPrecision(router_->forward(x));
    const ExpertChoice choice =
        router_kind_ == RouterKind::kSoftmax ? Softmax(logits, &regularizer) : NoisyTopK(x, logits, &regularizer);
    if (Collecting()) RecordVisits(choice.chosen, x.size(0));
    return {GatedExperts(x, choice, experts_, activation_, form_), regularizer};
  }

 private:
  bool Regularized() const { return is_training() && balance_ > 0; }

  ExpertChoice Softmax(const torch::Tensor& logits, torch::Tensor* regularizer) const {
    const torch::Tensor p = torch::softmax(logits, 1);
    const auto [top, chosen] = p.topk(top_k_, 1);
    if (Regularized()) *regularizer = balance_ * BalanceLoss(p.mean(0), chosen, count_);
    return {chosen, gates_ == GateKind::kRenormalized ? top / top.sum(1, /*keepdim=*/true) : top};
  }

  ExpertChoice NoisyTopK(const torch::Tensor& x, const torch::Tensor& clean, torch::Tensor* regularizer) {
    if (!is_training()) {
      const auto [top, chosen] = clean.topk(top_k_, 1);
      return {chosen, torch::softmax(top, 1)};
    }
    const torch::Tensor spread = torch::softplus(InFullPrecision(router_noise_->forward(x)));
    const torch::Tensor noisy = clean + torch::randn_like(clean) * spread;
    const auto [top, order] = noisy.topk(std::min(top_k_ + 1, count_), 1);
    const ExpertChoice choice{order.narrow(1, 0, top_k_), torch::softmax(top.narrow(1, 0, top_k_), 1)};
    if (Regularized()) {
      const torch::Tensor gates = torch::zeros_like(clean).scatter(1, choice.chosen, choice.gates);
      torch::Tensor loss = SquaredVariation(gates.sum(0));
      if (top_k_ < count_) loss = loss + SquaredVariation(Load(clean, spread, noisy, top).sum(0));
      *regularizer = balance_ * loss;
    }
    return choice;
  }

  // P(x, i): the probability that expert i is chosen if its noise alone were drawn again; [tokens, experts]. The
  // others' k-th largest value is the k-th of all, or the one after it for an expert that is among the first k itself.
  torch::Tensor Load(const torch::Tensor& clean, const torch::Tensor& spread, const torch::Tensor& noisy,
                     const torch::Tensor& top) const {
    const torch::Tensor kth = top.narrow(1, top_k_ - 1, 1), next = top.narrow(1, top_k_, 1);
    const torch::Tensor threshold = torch::where(noisy.detach() >= kth.detach(), next, kth);
    return NormalCdf((clean - threshold) / spread);
  }

  TreeForm form_;
  double balance_;
  Activation activation_;
  GateKind gates_;
  RouterKind router_kind_;
  int64_t count_, top_k_;
  torch::nn::Linear router_{nullptr}, router_noise_{nullptr};
  ExpertWeights experts_;
};

}  // namespace

std::shared_ptr<FeedForward> MakeMoe(const FeedForwardContext& context) { return std::make_shared<Moe>(context); }

}  // namespace grove::nn
