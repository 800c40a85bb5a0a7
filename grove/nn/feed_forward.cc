// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/feed_forward.h"

#include <utility>

#include "grove/base/check.h"

namespace grove::nn {
namespace {

std::shared_ptr<FeedForward> MakeNone(const FeedForwardContext&) { return nullptr; }

struct Kind {
  FeedForwardKind kind;
  std::shared_ptr<FeedForward> (*make)(const FeedForwardContext&);
};

constexpr Kind kKinds[] = {
    {FeedForwardKind::kDense, MakeDense}, {FeedForwardKind::kLeafTree, MakeLeafTree},
    {FeedForwardKind::kMoe, MakeMoe},     {FeedForwardKind::kNeuronTree, MakeNeuronTree},
    {FeedForwardKind::kNone, MakeNone},   {FeedForwardKind::kProductKey, MakeProductKey},
};

void Accumulate(torch::Tensor& sum, const torch::Tensor& term) {
  if (!term.defined()) return;
  sum = sum.defined() ? sum + term : term;
}

}  // namespace

void Routing::Add(const Routing& other) {
  Accumulate(visits, other.visits);
  Accumulate(entropy, other.entropy);
  tokens += other.tokens;
}

FeedForward::Output FeedForward::Forward(const torch::Tensor& x, const torch::Tensor& ids) {
  Output out = Compute(x, ids);
  if (!always_on_in_.is_empty()) {
    out.y = out.y + always_on_out_->forward(Activate(always_on_activation_, always_on_in_->forward(x)));
  }
  return out;
}

void FeedForward::RegisterAlwaysOn(const FeedForwardContext& context) {
  const int64_t neurons = context.config.always_on;
  if (neurons == 0) return;
  always_on_activation_ = KernelActivation(context.config.nonlinearity);
  always_on_in_ = register_module("always_on_in", NormalLinear(context.width, neurons, context.init_std));
  always_on_out_ = register_module("always_on_out", NormalLinear(neurons, context.width, context.init_std));
}

void SetBudgetFraction(const torch::nn::Module& model, double fraction) {
  for (const auto& module : model.modules()) {
    if (auto* layer = dynamic_cast<FeedForward*>(module.get())) layer->SetBudgetFraction(fraction);
  }
}

Routing FeedForward::TakeRouting() { return std::exchange(routing_, {}); }

void FeedForward::RecordVisits(const torch::Tensor& units, int64_t tokens) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor flat = units.detach().flatten().to(torch::kLong);
  if (unit_count_ < 0) unit_count_ = static_cast<int64_t>(Units().units());
  const torch::Tensor ones = torch::ones({flat.numel()}, flat.options().dtype(torch::kFloat));
  routing_.Add({torch::zeros({unit_count_}, ones.options()).scatter_add_(0, flat, ones), {}, tokens});
}

void FeedForward::RecordVisitCounts(const torch::Tensor& visits, int64_t tokens) {
  routing_.Add({visits.detach().to(torch::kFloat), {}, tokens});
}

void FeedForward::RecordEntropy(const torch::Tensor& entropy_sums) {
  routing_.Add({{}, entropy_sums.detach().to(torch::kFloat), 0});
}

std::shared_ptr<FeedForward> MakeFeedForward(const FeedForwardContext& context) {
  for (const Kind& entry : kKinds) {
    if (entry.kind == context.config.kind) return entry.make(context);
  }
  GROVE_CHECK(!"every FeedForwardKind has a line in kKinds");
  return nullptr;
}

Activation KernelActivation(NonLinearity nonlinearity) {
  GROVE_CHECK(nonlinearity != NonLinearity::kGeluGlu);  // the config reader admits GLU for dense layers only
  return nonlinearity == NonLinearity::kRelu ? Activation::kRelu : Activation::kGelu;
}

torch::Tensor Activate(Activation activation, const torch::Tensor& x) {
  return activation == Activation::kRelu ? torch::relu(x) : torch::gelu(x);
}

void AppendTreeLevels(size_t levels, std::vector<int32_t>* list) {
  for (size_t level = 0; level < levels; ++level)
    list->insert(list->end(), size_t{1} << level, static_cast<int32_t>(level));
}

bool UseKernel(TreeForm form, const torch::Tensor& x) {
  if (form == TreeForm::kAuto) return x.device().is_cpu();
  return form == TreeForm::kKernel;
}

torch::Tensor NormalInit(at::IntArrayRef shape, double std) { return torch::empty(shape).normal_(0.0, std); }

torch::nn::Linear NormalLinear(int64_t in, int64_t out, double std) {
  torch::nn::Linear linear(torch::nn::LinearOptions(in, out).bias(false));
  const torch::NoGradGuard no_grad;
  linear->weight.normal_(0.0, std);
  return linear;
}

torch::Tensor InFullPrecision(const torch::Tensor& t) {
  return t.scalar_type() == torch::kDouble ? t : t.to(torch::kFloat);
}

torch::Tensor UniformInit(at::IntArrayRef shape, double bound) { return torch::empty(shape).uniform_(-bound, bound); }

}  // namespace grove::nn
