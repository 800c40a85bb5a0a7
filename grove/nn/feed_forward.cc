// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/feed_forward.h"

#include "grove/base/check.h"

namespace grove::nn {
namespace {

std::shared_ptr<FeedForward> MakeNone(const FeedForwardContext&) { return nullptr; }

struct Kind {
  FeedForwardKind kind;
  std::shared_ptr<FeedForward> (*make)(const FeedForwardContext&);
};

constexpr Kind kKinds[] = {
    {FeedForwardKind::kDense, MakeDense},
    {FeedForwardKind::kLeafTree, MakeLeafTree},
    {FeedForwardKind::kNeuronTree, MakeNeuronTree},
    {FeedForwardKind::kNone, MakeNone},
};

}  // namespace

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

bool UseKernel(TreeForm form, const torch::Tensor& x) {
  if (form == TreeForm::kAuto) return x.device().is_cpu();
  return form == TreeForm::kKernel;
}

torch::Tensor NormalInit(at::IntArrayRef shape, double std) { return torch::empty(shape).normal_(0.0, std); }

torch::Tensor UniformInit(at::IntArrayRef shape, double bound) { return torch::empty(shape).uniform_(-bound, bound); }

}  // namespace grove::nn
