// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Neuron trees: UltraFastBERT, arXiv 2311.10770, kernels/neuron_tree.h. What turns a token at node n, whose value is
// act(l_n), l_n = w_in[n] . x + b_in[n]:
//
//   hard              l_n > 0, as published. The decision takes no gradient: a logit learns through its node's value
//   straight_through  the same turns; in training a decision also takes the gradient of its sigmoid (arXiv 1308.3432):
//                     with R_n and L_n what the tree would output below n after a right and a left turn, each along its
//                     own decided turns, l_n gets (dy . (R_n - L_n)) sigmoid'(l_n) on top of its value's gradient
//   random            v_n . x > 0 with fixed random hyperplanes: the buffer decision_planes [trees x (2^depth - 1),
//                     width], drawn from routing_seed and the layer's number, saved with the model (ours, a control)
//   token_hash        a bit of a hash of the token's id, kernels/token_path.h (ours, a control)
//
// Region leak exchanges the turns of a decision for a token with a given probability in training. A balance loss, which
// the published layer has not, takes sigmoid(l_n) for the probability of a right turn, and a path's end for a leaf.
//
// Initialization is the published class's: w_in, b_in uniform in +-1/sqrt(width), w_out uniform in
// +-1/sqrt(trees x levels), so that a token's output has the scale of a dense layer as wide as the active neurons.
#include "grove/kernels/neuron_tree.h"

#include <cmath>
#include <utility>
#include <vector>

#include "grove/kernels/token_path.h"
#include "grove/nn/neuron_paths.h"
#include "grove/nn/sparse_rows.h"
#include "grove/nn/tree_routing.h"

namespace grove::nn {
namespace {

// What backward needs beside tensors: the weights as the forward packed them.
struct PackedCall : torch::CustomClassHolder {
  PackedCall(const NeuronTreeShape& shape, const NeuronTreeWeights& weights, std::shared_ptr<ThreadPool> threads)
      : packed(shape, weights), pool(std::move(threads)) {}
  PackedNeuronTree packed;
  std::shared_ptr<ThreadPool> pool;
};

const float* Data(const torch::Tensor& t) {
  TORCH_CHECK(t.device().is_cpu() && t.scalar_type() == torch::kFloat && t.is_contiguous(),
              "the kernel form of a neuron tree takes contiguous fp32 tensors on the CPU");
  return t.data_ptr<float>();
}

// -> {y [tokens, width], visited nodes [tokens, trees x levels]}
class NeuronTreeFunction : public torch::autograd::Function<NeuronTreeFunction> {
 public:
  using Context = torch::autograd::AutogradContext;

  // One-sided trees pass an empty w_out_left: autograd functions take no undefined tensors.
  static torch::autograd::variable_list forward(Context* context, const torch::Tensor& x, const torch::Tensor& w_in,
                                                const torch::Tensor& b_in, const torch::Tensor& w_out,
                                                const torch::Tensor& w_out_left, const NeuronTreeShape& shape,
                                                const std::shared_ptr<ThreadPool>& pool) {
    const auto call = c10::make_intrusive<PackedCall>(
        shape, NeuronTreeWeights{Data(w_in), Data(b_in), Data(w_out), shape.two_sided ? Data(w_out_left) : nullptr},
        pool);
    const int64_t tokens = x.size(0);
    const int64_t path = static_cast<int64_t>(shape.trees * shape.levels());
    const torch::Tensor nodes = torch::empty({tokens, path}, torch::kInt);
    const torch::Tensor logits = torch::empty({tokens, path});
    torch::Tensor y = torch::empty_like(x);
    const NeuronTreeTrace trace{reinterpret_cast<uint32_t*>(nodes.data_ptr<int32_t>()), logits.data_ptr<float>()};
    NeuronTreeForward(call->packed, Data(x), static_cast<size_t>(tokens), y.data_ptr<float>(), &trace, *pool);
    context->save_for_backward({x, w_in, b_in, w_out, w_out_left, nodes, logits});
    context->saved_data["call"] = torch::IValue::make_capsule(call);
    context->mark_non_differentiable({nodes});
    return {y, nodes};
  }

  static torch::autograd::variable_list backward(Context* context, torch::autograd::variable_list dys) {
    const auto saved = context->get_saved_variables();
    const auto call = c10::static_intrusive_pointer_cast<PackedCall>(context->saved_data["call"].toCapsule());
    const torch::Tensor dy = dys[0].contiguous();
    const NeuronTreeTrace trace{reinterpret_cast<uint32_t*>(saved[5].data_ptr<int32_t>()), saved[6].data_ptr<float>()};
    const torch::Tensor dx = torch::empty_like(saved[0]), dw_in = torch::empty_like(saved[1]);
    const torch::Tensor db_in = torch::empty_like(saved[2]), dw_out = torch::empty_like(saved[3]);
    const torch::Tensor dw_out_left = torch::empty_like(saved[4]);
    const bool two_sided = call->packed.shape().two_sided;
    NeuronTreeBackward(call->packed, Data(saved[0]), trace, Data(dy), static_cast<size_t>(dy.size(0)),
                       {dx.data_ptr<float>(), dw_in.data_ptr<float>(), db_in.data_ptr<float>(),
                        dw_out.data_ptr<float>(), two_sided ? dw_out_left.data_ptr<float>() : nullptr},
                       *call->pool);
    return {dx, dw_in, db_in, dw_out, dw_out_left, {}, {}};
  }
};

// 1 where the token's path passes, else 0: [tokens, trees, nodes], from 1 = right and 0 = left at every inner node,
// [tokens, trees, decisions]. Breadth-first order makes each level a contiguous slice, and the next level is this one
// split by its decisions. Gradients of the turns, where they have any, pass.
torch::Tensor PathMask(const torch::Tensor& right, size_t depth) {
  const torch::Tensor left = 1 - right;
  std::vector<torch::Tensor> masks{torch::ones({right.size(0), right.size(1), 1}, right.options())};
  for (size_t level = 0; level < depth; ++level) {
    const int64_t first = (int64_t{1} << level) - 1, count = int64_t{1} << level;
    const torch::Tensor& reached = masks.back();
    masks.push_back(
        torch::stack({reached * left.narrow(-1, first, count), reached * right.narrow(-1, first, count)}, -1)
            .flatten(-2));
  }
  return torch::cat(masks, -1);
}

// Hyperplanes through the origin, the same ones wherever the model is made.
torch::Tensor RandomPlanes(int64_t planes, int64_t width, int64_t seed, int64_t layer) {
  at::Generator generator = at::detail::createCPUGenerator(TreeKey(seed, layer, /*tree=*/0));
  return torch::empty({planes, width}).normal_(0.0, 1.0 / std::sqrt(static_cast<double>(width)), generator);
}

// As TokenPath(), wherever the ids are: [tokens, keys].
torch::Tensor TokenPaths(const torch::Tensor& keys, const torch::Tensor& ids) {
  const auto shifted = [](const torch::Tensor& z, int64_t bits) {  // logical: torch's own keeps the sign
    return z.bitwise_right_shift(bits).bitwise_and((int64_t{1} << (64 - bits)) - 1);
  };
  torch::Tensor z = ids.unsqueeze(1).bitwise_xor(keys);
  z = z.bitwise_xor(shifted(z, 30)) * static_cast<int64_t>(0xbf58476d1ce4e5b9u);
  z = z.bitwise_xor(shifted(z, 27)) * static_cast<int64_t>(0x94d049bb133111ebu);
  return z.bitwise_xor(shifted(z, 31));
}

class NeuronTree final : public FeedForward {
 public:
  explicit NeuronTree(const FeedForwardContext& context)
      : options_(context.options), routing_(context.config.routing), balance_(Balance(context)) {
    const FeedForwardConfig& config = context.config;
    shape_ = {.width = static_cast<size_t>(context.width),
              .trees = static_cast<size_t>(config.trees),
              .depth = static_cast<size_t>(config.depth),
              .activation = KernelActivation(config.nonlinearity),
              .two_sided = config.two_sided};
    const int64_t nodes = static_cast<int64_t>(shape_.nodes());
    const double in_bound = 1.0 / std::sqrt(static_cast<double>(context.width));
    const double out_bound = 1.0 / std::sqrt(static_cast<double>(shape_.trees * shape_.levels()));
    linear_in_ = register_module("linear_in", torch::nn::Linear(context.width, nodes));
    linear_out_ =
        register_module("linear_out", torch::nn::Linear(torch::nn::LinearOptions(nodes, context.width).bias(false)));
    const torch::NoGradGuard no_grad;
    linear_in_->weight.uniform_(-in_bound, in_bound);
    linear_in_->bias.uniform_(-in_bound, in_bound);
    linear_out_->weight.uniform_(-out_bound, out_bound);
    if (shape_.two_sided) {
      linear_out_left_ = register_module("linear_out_left",
                                         torch::nn::Linear(torch::nn::LinearOptions(nodes, context.width).bias(false)));
      linear_out_left_->weight.uniform_(-out_bound, out_bound);
    }
    RegisterRouting(context);
    RegisterAlwaysOn(context);
  }

  UnitLayout Units() const override {
    UnitLayout layout;
    layout.unit_level.reserve(shape_.nodes());
    for (size_t tree = 0; tree < shape_.trees; ++tree) AppendTreeLevels(shape_.levels(), &layout.unit_level);
    if (routing_ == TreeRouting::kStraightThrough) {
      for (size_t tree = 0; tree < shape_.trees; ++tree) AppendTreeLevels(shape_.depth, &layout.decision_level);
    }
    layout.parameters = {{"linear_in.weight", linear_in_->weight, 0},
                         {"linear_in.bias", linear_in_->bias, 0},
                         {"linear_out.weight", linear_out_->weight, 1}};
    if (shape_.two_sided) layout.parameters.push_back({"linear_out_left.weight", linear_out_left_->weight, 1});
    return layout;
  }

 protected:
  Output Compute(const torch::Tensor& x, const torch::Tensor& ids) override {
    TORCH_CHECK(routing_ != TreeRouting::kTokenHash || ids.defined(),
                "a tree that is routed by token hash needs the tokens' ids");
    const bool fixed = routing_ == TreeRouting::kRandom || routing_ == TreeRouting::kTokenHash;
    const bool estimated = is_training() && routing_ == TreeRouting::kStraightThrough;
    // Of fixed paths that leave almost all neurons out the sparse form is the faster one on a GPU too.
    constexpr size_t kManyStored = 8192;
    if (options_.form == TreeForm::kAuto && CanWalkNeuronPaths(x) && !(estimated && Leak() > 0) &&
        !(fixed && shape_.nodes() > kManyStored)) {
      return Walked(x, ids, estimated);
    }
    if (fixed && options_.form != TreeForm::kMaskedDense) return {Sparse(x, ids), {}};
    if (!fixed && !estimated && Leak() == 0 && UseKernel(options_.form, x)) return Kernel(x);
    return MaskedDense(x, ids);
  }

 private:
  static double Balance(const FeedForwardContext& context) {
    const TreeRouting routing = context.config.routing;
    const bool learns = routing == TreeRouting::kHard || routing == TreeRouting::kStraightThrough;
    return learns ? BalanceWeight(context.config, context.options) : 0.0;
  }

  void RegisterRouting(const FeedForwardContext& context) {
    const int64_t trees = static_cast<int64_t>(shape_.trees), seed = context.config.routing_seed;
    if (routing_ == TreeRouting::kRandom) {
      planes_ =
          register_buffer("decision_planes", RandomPlanes(trees * Decisions(), context.width, seed, context.layer));
    } else if (routing_ == TreeRouting::kTokenHash) {
      keys_ = torch::empty({trees}, torch::kLong);
      for (int64_t tree = 0; tree < trees; ++tree) {
        keys_[tree] = static_cast<int64_t>(TreeKey(seed, context.layer, tree));
      }
    }
  }

  int64_t Decisions() const { return (int64_t{1} << shape_.depth) - 1; }  // of one tree
  double Leak() const { return is_training() ? options_.region_leak : 0.0; }
  torch::Tensor PerTree(const torch::Tensor& t, int64_t each) const {
    return t.view({t.size(0), static_cast<int64_t>(shape_.trees), each});
  }
  // [tokens, trees]
  torch::Tensor Paths(const torch::Tensor& ids) {
    if (keys_.device() != ids.device()) keys_ = keys_.to(ids.device());
    return TokenPaths(keys_, ids);
  }

  Output Kernel(const torch::Tensor& x) {
    const torch::Tensor left = shape_.two_sided ? linear_out_left_->weight : torch::empty({0});
    const auto out = NeuronTreeFunction::apply(x.contiguous(), linear_in_->weight, linear_in_->bias,
                                               linear_out_->weight, left, shape_, options_.pool);
    const torch::Tensor nodes = out[1].to(torch::kLong);
    if (Collecting()) {
      RecordVisits(nodes, x.size(0));
      if (routing_ == TreeRouting::kStraightThrough) RecordDecisions(DecisionLogits(x));
    }
    if (!is_training() || balance_ <= 0) return {out[0], {}};
    // The kernel computes the logits of the path alone; balance is about all of them.
    return {out[0], BalanceOf(DecisionLogits(x), Bottoms(nodes))};
  }

  // Of the inner nodes, [tokens, trees, decisions].
  torch::Tensor DecisionLogits(const torch::Tensor& x) const {
    const int64_t trees = static_cast<int64_t>(shape_.trees), nodes = static_cast<int64_t>(shape_.nodes_per_tree());
    const auto inner = [&](const torch::Tensor& t) {
      return t.view({trees, nodes, -1}).narrow(1, 0, Decisions()).flatten(0, 1);
    };
    return PerTree(torch::linear(x, inner(linear_in_->weight), inner(linear_in_->bias).flatten()), Decisions());
  }

  // leaves [tokens, trees]: where each path ended.
  torch::Tensor BalanceOf(const torch::Tensor& decision_logits, const torch::Tensor& leaves) const {
    const int64_t count = int64_t{1} << shape_.depth;
    const torch::Tensor p = Probabilities(InFullPrecision(decision_logits), shape_.depth).mean(0);
    const torch::Tensor first = torch::arange(leaves.size(1), leaves.options()) * count;
    return balance_ * BalanceLoss(p, leaves + first, count);
  }

  void RecordDecisions(const torch::Tensor& decision_logits) {
    RecordEntropy(DecisionEntropy(InFullPrecision(decision_logits.detach())).sum(0).flatten());
  }

  // What turns tokens at every inner node, 1 right, 0 left: [tokens, trees, decisions] in the type of `logits`.
  torch::Tensor Turns(const torch::Tensor& x, const torch::Tensor& logits, const torch::Tensor& ids) {
    torch::Tensor signs;  // right where positive
    switch (routing_) {
      case TreeRouting::kHard:
        signs = logits.detach();
        break;
      case TreeRouting::kStraightThrough:
        return StraightThroughTurns(LeakRegions(logits, Leak()));
      case TreeRouting::kRandom:
        signs = PerTree(torch::linear(x.detach(), planes_), Decisions());
        break;
      case TreeRouting::kTokenHash: {
        const torch::Tensor paths = Paths(ids);
        std::vector<torch::Tensor> levels{torch::empty({x.size(0), paths.size(1), 0}, logits.options())};
        for (size_t level = 0; level < shape_.depth; ++level) {
          const torch::Tensor bit = paths.bitwise_right_shift(static_cast<int64_t>(level)).bitwise_and(1);
          levels.push_back((2 * bit - 1).to(logits.scalar_type()).unsqueeze(-1).expand({-1, -1, int64_t{1} << level}));
        }
        signs = torch::cat(levels, -1);
        break;
      }
    }
    return (LeakRegions(signs, Leak()) > 0).to(logits.scalar_type());
  }

  Output MaskedDense(const torch::Tensor& x, const torch::Tensor& ids) {
    const int64_t nodes = static_cast<int64_t>(shape_.nodes_per_tree());
    const torch::Tensor logits = linear_in_->forward(x);
    const torch::Tensor decisions = PerTree(logits, nodes).narrow(-1, 0, Decisions());
    const torch::Tensor per_node = PathMask(Turns(x, decisions, ids), shape_.depth);
    const torch::Tensor mask = per_node.flatten(1);
    if (Collecting()) {
      RecordVisitCounts(mask.detach().to(torch::kFloat).sum(0), x.size(0));
      if (routing_ == TreeRouting::kStraightThrough) RecordDecisions(decisions);
    }
    torch::Tensor y = linear_out_->forward(Activate(shape_.activation, logits) * mask);
    if (shape_.two_sided) y = y + linear_out_left_->forward(Activate(shape_.activation, -logits) * mask);
    if (!is_training() || balance_ <= 0) return {y, {}};
    return {y, BalanceOf(decisions, per_node.detach().narrow(-1, Decisions(), Decisions() + 1).argmax(-1))};
  }

  // On a GPU: products over all nodes, and a walk in between.
  Output Walked(const torch::Tensor& x, const torch::Tensor& ids, bool estimated) {
    // Products of 2^n - 1 columns are several times slower than of a multiple of 8.
    const int64_t count = static_cast<int64_t>(shape_.nodes()), padding = (8 - count % 8) % 8;
    const torch::Tensor logits = torch::linear(x, torch::constant_pad_nd(linear_in_->weight, {0, 0, 0, padding}),
                                               torch::constant_pad_nd(linear_in_->bias, {0, padding}));
    const torch::Tensor nodes = WalkedNodes(x, ids, logits);
    const auto hidden = NeuronPathActivations(logits, nodes, shape_, estimated);
    const auto out = [&](const torch::Tensor& h, const torch::nn::Linear& linear) {
      return torch::linear(h, torch::constant_pad_nd(linear->weight, {0, padding}));
    };
    torch::Tensor y = out(hidden[0], linear_out_);
    if (shape_.two_sided) y = y + out(hidden[1], linear_out_left_);
    const torch::Tensor decisions =
        PerTree(logits.narrow(1, 0, count), static_cast<int64_t>(shape_.nodes_per_tree())).narrow(-1, 0, Decisions());
    if (Collecting()) {
      RecordVisits(nodes, x.size(0));
      if (routing_ == TreeRouting::kStraightThrough) RecordDecisions(decisions);
    }
    if (!is_training() || balance_ <= 0) return {y, {}};
    return {y, BalanceOf(decisions, Bottoms(nodes))};
  }

  torch::Tensor WalkedNodes(const torch::Tensor& x, const torch::Tensor& ids, const torch::Tensor& logits) {
    const torch::NoGradGuard no_grad;
    if (routing_ == TreeRouting::kTokenHash) return VisitedNodes(x, ids);
    const bool random = routing_ == TreeRouting::kRandom;
    const torch::Tensor turns = LeakRegions(random ? torch::linear(x, planes_) : logits, Leak());
    return DecideNeuronPaths(turns, shape_, random ? Decisions() : static_cast<int64_t>(shape_.nodes_per_tree()));
  }

  // Where the paths end, among the ends of their tree: [tokens, trees], from their nodes [tokens, trees x levels].
  torch::Tensor Bottoms(const torch::Tensor& nodes) const {
    const int64_t levels = static_cast<int64_t>(shape_.levels());
    const torch::Tensor nodes_before = torch::arange(static_cast<int64_t>(shape_.trees), nodes.options()) *
                                       static_cast<int64_t>(shape_.nodes_per_tree());
    return PerTree(nodes, levels).select(-1, levels - 1) - nodes_before - Decisions();
  }

  // Routing that needs no logit: the path first, then its neurons alone.
  torch::Tensor Sparse(const torch::Tensor& x, const torch::Tensor& ids) {
    const torch::Tensor nodes = VisitedNodes(x, ids);
    if (Collecting()) RecordVisits(nodes, x.size(0));
    const torch::Tensor bias = linear_in_->bias.index_select(0, nodes.flatten()).view(nodes.sizes());
    const torch::Tensor logits = RowDots(linear_in_->weight, nodes, x) + bias;
    torch::Tensor y = RowSums(linear_out_->weight.t().contiguous(), nodes, Activate(shape_.activation, logits));
    if (!shape_.two_sided) return y;
    return y + RowSums(linear_out_left_->weight.t().contiguous(), nodes, Activate(shape_.activation, -logits));
  }

  // [tokens, trees x levels], indices among the nodes of all trees.
  torch::Tensor VisitedNodes(const torch::Tensor& x, const torch::Tensor& ids) {
    const torch::NoGradGuard no_grad;
    const int64_t trees = static_cast<int64_t>(shape_.trees);
    const auto index = torch::TensorOptions().dtype(torch::kLong).device(x.device());
    const torch::Tensor tree = torch::arange(trees, index);
    const torch::Tensor paths = routing_ == TreeRouting::kTokenHash ? Paths(ids) : torch::Tensor();
    std::vector<torch::Tensor> nodes{torch::zeros({x.size(0), trees}, index)};
    for (size_t level = 0; level < shape_.depth; ++level) {
      const torch::Tensor& node = nodes.back();
      torch::Tensor right = paths.defined() ? paths.bitwise_right_shift(static_cast<int64_t>(level)).bitwise_and(1)
                                            : (RowDots(planes_, node + tree * Decisions(), x) > 0).to(torch::kLong);
      if (Leak() > 0) right = right.bitwise_xor(torch::empty_like(right).bernoulli_(Leak()));
      nodes.push_back(2 * node + 1 + right);
    }
    const torch::Tensor first = tree * static_cast<int64_t>(shape_.nodes_per_tree());
    return (torch::stack(nodes, -1) + first.unsqueeze(1)).flatten(1);
  }

  ModuleOptions options_;
  TreeRouting routing_;
  double balance_;
  NeuronTreeShape shape_;
  torch::nn::Linear linear_in_{nullptr}, linear_out_{nullptr}, linear_out_left_{nullptr};
  torch::Tensor planes_;  // random routing
  torch::Tensor keys_;    // routing by hash, [trees]: from the config, not stored
};

}  // namespace

std::shared_ptr<FeedForward> MakeNeuronTree(const FeedForwardContext& context) {
  return std::make_shared<NeuronTree>(context);
}

}  // namespace grove::nn
