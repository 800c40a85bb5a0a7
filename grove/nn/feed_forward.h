// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The feedforward layer of an encoder block, one LibTorch module per kind. A new kind is one file with a Make function
// and one line in the table of feed_forward.cc.
//
// Tree layers have two forms that compute the same function:
//   kernel         grove/kernels through torch::autograd::Function; CPU only, computes the visited neurons
//   masked dense   plain tensor operations over all neurons, unvisited ones masked; any device, and the tests' oracle
#pragma once

#include <memory>

#include "grove/base/thread_pool.h"
#include "grove/io/model_config.h"
#include "grove/kernels/activation.h"
#include "grove/nn/torch_compat.h"

namespace grove::nn {

enum class TreeForm { kAuto, kKernel, kMaskedDense };  // kAuto: kernel for tensors on the CPU, else masked dense

struct ModuleOptions {
  TreeForm form = TreeForm::kAuto;
  double balance = 0.0;    // leaf trees: weight of the balance loss
  double hardening = 0.0;  // leaf trees: weight of the decisions' entropy, h of arXiv 2308.14711
  std::shared_ptr<ThreadPool> pool = std::make_shared<ThreadPool>(1);  // for the kernels
};

class FeedForward : public torch::nn::Module {
 public:
  struct Output {
    torch::Tensor y;
    torch::Tensor regularizer;  // scalar to be added to the loss; undefined if there is none or outside training
  };
  virtual Output Forward(const torch::Tensor& x) = 0;  // x [tokens, width] -> y [tokens, width]
};

struct FeedForwardContext {
  const FeedForwardConfig& config;
  int64_t width;
  double init_std;
  ModuleOptions options;
};

// Null for FeedForwardKind::kNone: such a block has neither the layer nor the norm before it.
std::shared_ptr<FeedForward> MakeFeedForward(const FeedForwardContext& context);

std::shared_ptr<FeedForward> MakeDense(const FeedForwardContext& context);
std::shared_ptr<FeedForward> MakeLeafTree(const FeedForwardContext& context);
std::shared_ptr<FeedForward> MakeNeuronTree(const FeedForwardContext& context);

// What the forms of several kinds share.
Activation KernelActivation(NonLinearity nonlinearity);
torch::Tensor Activate(Activation activation, const torch::Tensor& x);
bool UseKernel(TreeForm form, const torch::Tensor& x);
torch::Tensor NormalInit(at::IntArrayRef shape, double std);
torch::Tensor UniformInit(at::IntArrayRef shape, double bound);

}  // namespace grove::nn
