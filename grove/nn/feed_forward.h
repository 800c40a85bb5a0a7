// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The feedforward layer of an encoder block, one LibTorch module per kind. A new kind is one file with a Make function
// and one line in the table of feed_forward.cc.
//
// Layers have two forms that compute the same function:
//   sparse         computes what is visited: trees on a CPU by grove/kernels through torch::autograd::Function
//                  (TreeForm::kKernel), others by gathering rows (sparse_rows.h) or grouping tokens (gated_experts.h)
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

// kAuto: sparse where there is such a form for the tensor's device. kKernel: that a kernel is wanted, an error
// elsewhere.
enum class TreeForm { kAuto, kKernel, kMaskedDense };

// How conditional layers are computed and trained; what they compute is in FeedForwardConfig.
struct ModuleOptions {
  TreeForm form = TreeForm::kAuto;
  // Weight of the load-balance loss of conditional layers. -1: 0.01, or 0 for neuron trees, which are published
  // without.
  double balance = 0.0;
  double hardening = 0.0;       // leaf trees: weight of the decisions' entropy, h of arXiv 2308.14711
  bool hardening_ramp = false;  // h grows linearly from 0 over the budget: SetBudgetFraction()
  double region_leak = 0.0;     // trees: probability that a decision is flipped in training (arXiv 2308.14711)
  int64_t train_paths = 0;      // leaf trees: paths in training; 0: as in inference, 2^depth or more: all leaves, soft
  bool train_hardened = false;  // leaf trees: train the decided path with straight-through decisions
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

struct FeedForwardContext {
  const FeedForwardConfig& config;
  int64_t width;
  double init_std;
  ModuleOptions options;
  int64_t layer = 0;  // its number in the model
};

class FeedForward : public torch::nn::Module {
 public:
  struct Output {
    torch::Tensor y;
    torch::Tensor regularizer;  // scalar to be added to the loss; undefined if there is none or outside training
  };
  // x [tokens, width] -> y [tokens, width]. ids [tokens] int64: the tokens, for layers routed by them; may be undefined
  // for all others.
  Output Forward(const torch::Tensor& x, const torch::Tensor& ids = {});

  virtual UnitLayout Units() const { return {}; }  // empty: every token uses all of the layer

  // Routing of the forward passes in training mode since the last TakeRouting(), gathered only while it is asked for.
  void CollectRouting(bool on) { collect_ = on; }
  Routing TakeRouting();

  // Share of the training budget that is used, for what changes over it.
  void SetBudgetFraction(double fraction) { budget_fraction_ = fraction; }

 protected:
  virtual Output Compute(const torch::Tensor& x, const torch::Tensor& ids) = 0;  // Forward() but for the dense part

  // The dense part that every token passes, "always_on" of the config: act(x A_in) A_out, added to y. Nothing for 0.
  void RegisterAlwaysOn(const FeedForwardContext& context);
  double budget_fraction() const { return budget_fraction_; }

  // For Forward(): is routing wanted now, and what a pass did. `units` holds the unit index of every use, any shape.
  bool Collecting() const { return collect_ && is_training(); }
  void RecordVisits(const torch::Tensor& units, int64_t tokens);
  void RecordVisitCounts(const torch::Tensor& visits, int64_t tokens);  // [units], where they are counted already
  void RecordEntropy(const torch::Tensor& entropy_sums);                // [decisions]

 private:
  bool collect_ = false;
  int64_t unit_count_ = -1;  // of Units(), once it was asked for
  double budget_fraction_ = 0.0;
  Activation always_on_activation_ = Activation::kGelu;
  torch::nn::Linear always_on_in_{nullptr}, always_on_out_{nullptr};
  Routing routing_;
};

// Null for FeedForwardKind::kNone: such a block has neither the layer nor the norm before it.
std::shared_ptr<FeedForward> MakeFeedForward(const FeedForwardContext& context);

std::shared_ptr<FeedForward> MakeDense(const FeedForwardContext& context);
std::shared_ptr<FeedForward> MakeLeafTree(const FeedForwardContext& context);
std::shared_ptr<FeedForward> MakeMoe(const FeedForwardContext& context);
std::shared_ptr<FeedForward> MakeNeuronTree(const FeedForwardContext& context);
std::shared_ptr<FeedForward> MakeProductKey(const FeedForwardContext& context);

// Tells every feedforward layer within `model`.
void SetBudgetFraction(const torch::nn::Module& model, double fraction);

// What the forms of several kinds share.
Activation KernelActivation(NonLinearity nonlinearity);
torch::Tensor Activate(Activation activation, const torch::Tensor& x);
void AppendTreeLevels(size_t levels, std::vector<int32_t>* list);  // of a binary tree's nodes, breadth-first
bool UseKernel(TreeForm form, const torch::Tensor& x);
torch::Tensor NormalInit(at::IntArrayRef shape, double std);
torch::Tensor UniformInit(at::IntArrayRef shape, double bound);
torch::nn::Linear NormalLinear(int64_t in, int64_t out, double std);  // without bias
torch::Tensor InFullPrecision(
    const torch::Tensor& t);  // fp32, or double as it is: for what decides, under autocast too

}  // namespace grove::nn
