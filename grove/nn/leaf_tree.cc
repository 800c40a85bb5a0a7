// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Leaf trees: the fast feedforward layer (FFF) of arXiv 2308.14711, kernels/leaf_tree.h, and what is ours: n paths,
// trees side by side, gates by probability. A router chooses leaves and gates; the kernel, or GatedExperts, does the
// rest.
//
//   gates          renormalized: p_i / sum of the chosen p; one path then has gate 1, and its decisions learn only
//                  through the balance and hardening losses. probability: p_i, which has a gradient for one path too
//   train_paths    other paths in training than in inference; all leaves is FORWARD_T of the paper
//   train_hardened FORWARD_T with rounded decisions: the decided leaf with gate 1, and each decision takes the gradient
//                  of its sigmoid (straight-through). Only leaves with a gradient are computed: the decided one, and
//                  for each level the one where the path would end if that decision alone were flipped
//   region leak    in training the two probabilities of a decision are exchanged, each with this probability
//   trees          tree-major in every tensor; probabilities are renormalized within a tree, outputs added
//
// Initialization: leaves normal(init_std) as the dense layer of the recipe, biases 0; decisions uniform in
// +-1/sqrt(width) without bias, so that a normalized token's logits start near 0 with spread about 0.6 and every leaf
// is reached. decision_scale sharpens them from there (the pilot of the study used 4).
#include "grove/kernels/leaf_tree.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "grove/nn/gated_experts.h"
#include "grove/nn/leaf_router.h"
#include "grove/nn/tree_routing.h"

namespace grove::nn {
namespace {

struct PackedCall : torch::CustomClassHolder {
  PackedCall(const LeafTreeShape& shape, const LeafTreeWeights& weights, std::shared_ptr<ThreadPool> threads)
      : packed(shape, weights), pool(std::move(threads)) {}
  PackedLeafTree packed;
  std::shared_ptr<ThreadPool> pool;
};

const float* Data(const torch::Tensor& t) {
  TORCH_CHECK(t.device().is_cpu() && t.scalar_type() == torch::kFloat && t.is_contiguous(),
              "the kernel form of a leaf tree takes contiguous fp32 tensors on the CPU");
  return t.data_ptr<float>();
}

// -> {y [tokens, out_width], chosen leaves [tokens, paths]}
class LeafTreeFunction : public torch::autograd::Function<LeafTreeFunction> {
 public:
  using Context = torch::autograd::AutogradContext;

  static torch::autograd::variable_list forward(Context* context, const torch::Tensor& x, const torch::Tensor& nodes,
                                                const torch::Tensor& node_biases, const torch::Tensor& w1,
                                                const torch::Tensor& b1, const torch::Tensor& w2,
                                                const torch::Tensor& b2, const LeafTreeShape& shape,
                                                const std::shared_ptr<ThreadPool>& pool) {
    const LeafTreeWeights weights{Data(nodes), Data(node_biases), Data(w1), Data(b1), Data(w2), Data(b2)};
    const auto call = c10::make_intrusive<PackedCall>(shape, weights, pool);
    const int64_t tokens = x.size(0), paths = static_cast<int64_t>(shape.paths);
    const torch::Tensor leaves = torch::empty({tokens, paths}, torch::kInt);
    const torch::Tensor gates = torch::empty({tokens, paths});
    torch::Tensor y = torch::empty({tokens, static_cast<int64_t>(shape.out_width)});
    const LeafTreeTrace trace{reinterpret_cast<uint32_t*>(leaves.data_ptr<int32_t>()), gates.data_ptr<float>()};
    LeafTreeForward(call->packed, Data(x), static_cast<size_t>(tokens), y.data_ptr<float>(), &trace, *pool);
    context->save_for_backward({x, nodes, node_biases, w1, b1, w2, b2, leaves, gates});
    context->saved_data["call"] = torch::IValue::make_capsule(call);
    context->mark_non_differentiable({leaves});
    return {y, leaves};
  }

  static torch::autograd::variable_list backward(Context* context, torch::autograd::variable_list dys) {
    const auto saved = context->get_saved_variables();
    const auto call = c10::static_intrusive_pointer_cast<PackedCall>(context->saved_data["call"].toCapsule());
    const torch::Tensor dy = dys[0].contiguous();
    const LeafTreeTrace trace{reinterpret_cast<uint32_t*>(saved[7].data_ptr<int32_t>()), saved[8].data_ptr<float>()};
    torch::autograd::variable_list gradients;
    for (size_t i = 0; i < 7; ++i) gradients.push_back(torch::empty_like(saved[i]));
    const auto at = [&](size_t i) { return gradients[i].data_ptr<float>(); };
    LeafTreeBackward(call->packed, Data(saved[0]), trace, Data(dy), static_cast<size_t>(dy.size(0)),
                     {at(0), at(1), at(2), at(3), at(4), at(5), at(6)}, *call->pool);
    gradients.resize(9);  // none for the shape and the pool
    return gradients;
  }
};

class LeafTree final : public FeedForward {
 public:
  explicit LeafTree(const FeedForwardContext& context)
      : options_(context.options),
        balance_(BalanceWeight(context.config, context.options)),
        gates_(context.config.gates),
        trees_(context.config.trees) {
    const FeedForwardConfig& config = context.config;
    shape_ = {.in_width = static_cast<size_t>(context.width),
              .leaf_width = static_cast<size_t>(config.leaf_width),
              .out_width = static_cast<size_t>(context.width),
              .depth = static_cast<size_t>(config.depth),
              .paths = static_cast<size_t>(config.paths),
              .decision_scale = static_cast<float>(config.decision_scale),
              .activation = KernelActivation(config.nonlinearity)};
    const int64_t width = context.width, decisions = trees_ * (Leaves() - 1);
    node_weights_ = register_parameter("node_weights",
                                       UniformInit({decisions, width}, 1.0 / std::sqrt(static_cast<double>(width))));
    node_biases_ = register_parameter("node_biases", torch::zeros({decisions, 1}));
    leaves_ = RegisterExperts(*this, trees_ * Leaves(), width, config.leaf_width, context.init_std);
    RegisterAlwaysOn(context);
  }

  UnitLayout Units() const override {
    UnitLayout layout;
    layout.unit_level.assign(static_cast<size_t>(trees_) * shape_.leaves(), static_cast<int32_t>(shape_.depth));
    for (int64_t tree = 0; tree < trees_; ++tree) AppendTreeLevels(shape_.depth, &layout.decision_level);
    layout.parameters = ExpertParameters(leaves_);
    layout.decision_parameters = {{"node_weights", node_weights_, 0}, {"node_biases", node_biases_, 0}};
    return layout;
  }

 protected:
  Output Compute(const torch::Tensor& x, const torch::Tensor&) override {
    const bool rounded = is_training() && options_.train_hardened;
    const bool leaky = is_training() && options_.region_leak > 0;
    const LeafRouterShape router = Router();
    if (options_.form == TreeForm::kAuto && !rounded && !leaky && CanRouteLeaves(x, router)) return Routed(x, router);
    // What the kernel knows: renormalized gates of the n most probable leaves.
    const bool kernel = UseKernel(options_.form, x) && gates_ == GateKind::kRenormalized && !rounded && !leaky;
    torch::Tensor logits;
    if (!kernel || Regularized() || Collecting()) logits = DecisionLogits(x);
    torch::Tensor y, used;  // used: leaves of all trees, [tokens, any]
    if (kernel) {
      y = Kernel(x, &used);
    } else {
      const torch::Tensor routed = leaky ? LeakRegions(logits, options_.region_leak) : logits;
      const ExpertChoice choice = rounded ? RoundedChoice(routed) : Choice(routed);
      y = GatedExperts(x, choice, leaves_, shape_.activation, options_.form);
      // Beside the decided leaves a rounded choice has those that only lend their gradient.
      used = rounded ? choice.chosen.view({-1, trees_, choice.chosen.size(1) / trees_}).select(-1, 0) : choice.chosen;
    }
    if (Collecting()) {
      RecordVisits(used, x.size(0));
      RecordEntropy(DecisionEntropy(logits.detach()).sum(0).flatten());
    }
    if (!Regularized()) return {y, {}};
    torch::Tensor balance;
    if (balance_ > 0) balance = BalanceLoss(Probabilities(logits, shape_.depth).mean(0), used, Leaves());
    return {y, Regularizer(balance, logits)};
  }

 private:
  int64_t Leaves() const { return static_cast<int64_t>(shape_.leaves()); }
  int64_t Paths() const {
    const bool other = is_training() && options_.train_paths > 0;
    return other ? std::min(options_.train_paths, Leaves()) : static_cast<int64_t>(shape_.paths);
  }
  double Hardening() const { return options_.hardening * (options_.hardening_ramp ? budget_fraction() : 1.0); }
  bool Regularized() const { return is_training() && (balance_ > 0 || options_.hardening > 0); }

  LeafRouterShape Router() const {
    return {.trees = trees_,
            .depth = shape_.depth,
            .paths = Paths(),
            .scale = shape_.decision_scale,
            .renormalize = gates_ == GateKind::kRenormalized};
  }

  // On a GPU.
  Output Routed(const torch::Tensor& x, const LeafRouterShape& router) {
    torch::Tensor logits;
    const bool wanted = Collecting() || (is_training() && Hardening() > 0);
    const LeafRoutes routes = RouteLeaves(x, node_weights_, node_biases_, router, wanted ? &logits : nullptr);
    const torch::Tensor y = GatedExperts(x, {routes.chosen, routes.gates}, leaves_, shape_.activation, options_.form);
    if (wanted) logits = InFullPrecision(logits) * shape_.decision_scale;
    if (Collecting()) {
      RecordVisitCounts(routes.visits, x.size(0));
      RecordEntropy(DecisionEntropy(logits.detach()).sum(0).flatten());
    }
    if (!Regularized()) return {y, {}};
    return {y, Regularizer(balance_ > 0 ? BalanceLossOfCounts(routes.mean_p, routes.visits, Leaves()) : torch::Tensor(),
                           logits)};
  }

  torch::Tensor Kernel(const torch::Tensor& x, torch::Tensor* used) const {
    LeafTreeShape shape = shape_;
    shape.paths = static_cast<size_t>(Paths());
    const auto nodes = node_weights_.chunk(trees_), biases = node_biases_.chunk(trees_);
    const auto w1 = leaves_.w1s.chunk(trees_), b1 = leaves_.b1s.chunk(trees_);
    const auto w2 = leaves_.w2s.chunk(trees_), b2 = leaves_.b2s.chunk(trees_);
    const torch::Tensor input = x.contiguous();
    torch::Tensor y;
    std::vector<torch::Tensor> visited;
    for (size_t tree = 0; tree < static_cast<size_t>(trees_); ++tree) {
      const auto out = LeafTreeFunction::apply(input, nodes[tree], biases[tree], w1[tree], b1[tree], w2[tree], b2[tree],
                                               shape, options_.pool);
      y = y.defined() ? y + out[0] : out[0];
      visited.push_back(out[1].to(torch::kLong) + static_cast<int64_t>(tree) * Leaves());
    }
    *used = torch::cat(visited, 1);
    return y;
  }

  // Scaled, [tokens, trees, decisions], in full precision: probabilities of deep leaves are products of many decisions.
  torch::Tensor DecisionLogits(const torch::Tensor& x) const {
    const torch::Tensor logits = torch::linear(x, node_weights_, node_biases_.flatten());
    return InFullPrecision(logits).view({x.size(0), trees_, Leaves() - 1}) * shape_.decision_scale;
  }

  // From each tree's leaves [tokens, trees, n] and their gates to those of all trees, [tokens, trees x n].
  ExpertChoice OfAllTrees(const torch::Tensor& leaves, const torch::Tensor& gates) const {
    const torch::Tensor first = torch::arange(trees_, leaves.options()).unsqueeze(1) * Leaves();
    return {(leaves + first).flatten(1), gates.flatten(1)};
  }

  ExpertChoice Choice(const torch::Tensor& logits) const {
    const int64_t paths = Paths();
    if (paths == 1) {
      const torch::Tensor decided = DecidedLeaves(logits, shape_.depth).unsqueeze(-1);
      if (gates_ == GateKind::kRenormalized) return OfAllTrees(decided, torch::ones_like(decided, logits.options()));
      return OfAllTrees(decided, LogProbabilities(logits, shape_.depth).gather(-1, decided).exp());
    }
    const auto [top, leaves] = LogProbabilities(logits, shape_.depth).topk(paths, -1);
    // softmax of log p renormalizes p
    return OfAllTrees(leaves, gates_ == GateKind::kRenormalized ? torch::softmax(top, -1) : top.exp());
  }

  ExpertChoice RoundedChoice(const torch::Tensor& logits) const {
    const auto multiply = [](const torch::Tensor& a, const torch::Tensor& b) { return a * b; };
    const auto add = [](const torch::Tensor& a, const torch::Tensor& b) { return a + b; };
    const torch::Tensor right = StraightThroughTurns(logits), left = 1.0 - right;
    const torch::Tensor root = torch::ones({logits.size(0), trees_, 1}, logits.options());
    const torch::Tensor gates = DownTheTree(root, left, right, shape_.depth, multiply);
    // How many turns on the way to a leaf are those decided: all of them, or all but one, which alone has a gradient.
    const torch::Tensor agreeing = DownTheTree(root, left.detach(), right.detach(), shape_.depth, add);
    const torch::Tensor leaves = std::get<1>(agreeing.topk(static_cast<int64_t>(shape_.depth) + 1, -1));
    return OfAllTrees(leaves, gates.gather(-1, leaves));
  }

  // balance: BalanceLoss of tree_routing.h, undefined for none. hardening: the summed mean entropy of the decisions.
  torch::Tensor Regularizer(const torch::Tensor& balance, const torch::Tensor& logits) const {
    torch::Tensor sum;
    if (balance.defined()) sum = balance_ * balance;
    const double hardening = Hardening();
    if (hardening <= 0) return sum.defined() ? sum : torch::zeros({}, node_biases_.options());
    const torch::Tensor entropy = DecisionEntropy(logits).mean(0).sum() * hardening;
    return sum.defined() ? sum + entropy : entropy;
  }

  ModuleOptions options_;
  double balance_;
  GateKind gates_;
  int64_t trees_;
  LeafTreeShape shape_;  // of one tree
  // The registered tensors: .to(device) and optimizers change them in place.
  torch::Tensor node_weights_;  // [trees x decisions, width]
  torch::Tensor node_biases_;   // [trees x decisions, 1]
  ExpertWeights leaves_;
};

}  // namespace

std::shared_ptr<FeedForward> MakeLeafTree(const FeedForwardContext& context) {
  return std::make_shared<LeafTree>(context);
}

}  // namespace grove::nn
