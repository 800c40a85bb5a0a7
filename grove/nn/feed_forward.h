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
#include <string>
#include <vector>

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

// A conditional layer is made of units that a token uses or not: the nodes of neuron trees, the leaves of leaf trees,
// the experts of a mixture.
struct UnitLayout {
  // [units] level of each unit in its tree, a leaf's below all decisions; all 0 where there are no levels
  std::vector<int32_t> unit_level;
  std::vector<int32_t>
      decision_level;  // [decisions] level of each binary decision that has a probability; may be empty
  // Parameters that belong to units: dimension `dim` of `tensor` is units x rows per unit, unit-major.
  struct Parameter {
    std::string name;  // within the layer: "w1s", "linear_in.weight"
    torch::Tensor tensor;
    int64_t dim;
  };
  std::vector<Parameter> parameters;
  // The same of the decisions, where they are no units themselves: `dim` is decisions x rows per decision.
  std::vector<Parameter> decision_parameters;

  size_t units() const { return unit_level.size(); }
};

// What the tokens of some forward passes did, on the device.
struct Routing {
  torch::Tensor visits;  // [units] fp32, how many tokens used each unit
  torch::Tensor
      entropy;  // [decisions] fp32, each decision's entropy (natural log) summed over the tokens; may be undefined
  int64_t tokens = 0;

  void Add(const Routing& other);  // of another replica or process
};

class FeedForward : public torch::nn::Module {
 public:
  struct Output {
    torch::Tensor y;
    torch::Tensor regularizer;  // scalar to be added to the loss; undefined if there is none or outside training
  };
  virtual Output Forward(const torch::Tensor& x) = 0;  // x [tokens, width] -> y [tokens, width]

  virtual UnitLayout Units() const { return {}; }  // empty: every token uses all of the layer

  // Routing of the forward passes in training mode since the last TakeRouting(), gathered only while it is asked for.
  void CollectRouting(bool on) { collect_ = on; }
  Routing TakeRouting();

 protected:
  // For Forward(): is routing wanted now, and what a pass did. `units` holds the unit index of every use, any shape.
  bool Collecting() const { return collect_ && is_training(); }
  void RecordVisits(const torch::Tensor& units, int64_t tokens);
  void RecordVisitCounts(const torch::Tensor& visits, int64_t tokens);  // [units], where they are counted already
  void RecordEntropy(const torch::Tensor& entropy_sums);                // [decisions]

 private:
  bool collect_ = false;
  int64_t unit_count_ = -1;  // of Units(), once it was asked for
  Routing routing_;
};

struct FeedForwardContext {
  const FeedForwardConfig& config;
  int64_t width;
  double init_std;
  ModuleOptions options;
  int64_t layer = 0;  // its number in the model
};

// Null for FeedForwardKind::kNone: such a block has neither the layer nor the norm before it.
std::shared_ptr<FeedForward> MakeFeedForward(const FeedForwardContext& context);

std::shared_ptr<FeedForward> MakeDense(const FeedForwardContext& context);
std::shared_ptr<FeedForward> MakeLeafTree(const FeedForwardContext& context);
std::shared_ptr<FeedForward> MakeNeuronTree(const FeedForwardContext& context);

// What the forms of several kinds share.
Activation KernelActivation(NonLinearity nonlinearity);
torch::Tensor Activate(Activation activation, const torch::Tensor& x);
void AppendTreeLevels(size_t levels, std::vector<int32_t>* list);  // of a binary tree's nodes, breadth-first
bool UseKernel(TreeForm form, const torch::Tensor& x);
torch::Tensor NormalInit(at::IntArrayRef shape, double std);
torch::Tensor UniformInit(at::IntArrayRef shape, double bound);

}  // namespace grove::nn
