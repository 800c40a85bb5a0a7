// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Leaf trees (kernels/leaf_tree.h) with n paths. Gates take gradients for n > 1; with one path the decisions learn
// only through the balance and hardening losses.
//
// Initialization: leaves normal(init_std) as the dense layer of the recipe, biases 0; decisions uniform in
// +-1/sqrt(width) without bias, so that a normalized token's logits start near 0 with spread about 0.6 and every leaf
// is reached. decision_scale sharpens them from there (the pilot of the study used 4).
#include "grove/kernels/leaf_tree.h"

#include <cmath>
#include <utility>

#include "grove/nn/feed_forward.h"

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

struct Parameters {
  torch::Tensor node_weights, node_biases, w1s, b1s, w2s, b2s;  // shapes: kernels/leaf_tree.h
};

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

// Values of decisions carried down the tree: from the value at the root and the values of every node's left and right
// turn to the value at every leaf. left, right [tokens, decisions], breadth-first -> [tokens, 2^depth].
template <class Combine>
torch::Tensor DownTheTree(torch::Tensor value, const torch::Tensor& left, const torch::Tensor& right, size_t depth,
                          const Combine& combine) {
  for (size_t level = 0; level < depth; ++level) {
    const int64_t first = (int64_t{1} << level) - 1, count = int64_t{1} << level;
    value =
        torch::stack({combine(value, left.narrow(1, first, count)), combine(value, right.narrow(1, first, count))}, -1)
            .flatten(1);
  }
  return value;
}

// log p of every leaf, [tokens, leaves], from the scaled logits [tokens, decisions].
torch::Tensor LogProbabilities(const torch::Tensor& logits, size_t depth) {
  const auto add = [](const torch::Tensor& a, const torch::Tensor& b) { return a + b; };
  return DownTheTree(torch::zeros({logits.size(0), 1}, logits.options()), torch::log_sigmoid(-logits),
                     torch::log_sigmoid(logits), depth, add);
}

// The same without logarithms, cheaper and good enough for means: one sigmoid a decision.
torch::Tensor Probabilities(const torch::Tensor& logits, size_t depth) {
  const auto multiply = [](const torch::Tensor& a, const torch::Tensor& b) { return a * b; };
  const torch::Tensor right = torch::sigmoid(logits);
  return DownTheTree(torch::ones({logits.size(0), 1}, logits.options()), 1.0 - right, right, depth, multiply);
}

// 1 at the leaf where the decided path ends, else 0; [tokens, leaves].
torch::Tensor DecidedLeaf(const torch::Tensor& logits, size_t depth) {
  const torch::Tensor right = logits.detach() > 0;
  const auto both = [](const torch::Tensor& a, const torch::Tensor& b) { return a & b; };
  return DownTheTree(torch::ones({logits.size(0), 1}, right.options()), ~right, right, depth, both);
}

// Entropy of sigmoid(l), natural log: softplus(l) - l sigmoid(l).
torch::Tensor DecisionEntropy(const torch::Tensor& logits) {
  return torch::softplus(logits) - logits * torch::sigmoid(logits);
}

class LeafTree final : public FeedForward {
 public:
  explicit LeafTree(const FeedForwardContext& context) : options_(context.options) {
    const FeedForwardConfig& config = context.config;
    shape_ = {.in_width = static_cast<size_t>(context.width),
              .leaf_width = static_cast<size_t>(config.leaf_width),
              .out_width = static_cast<size_t>(context.width),
              .depth = static_cast<size_t>(config.depth),
              .paths = static_cast<size_t>(config.paths),
              .decision_scale = static_cast<float>(config.decision_scale),
              .activation = KernelActivation(config.nonlinearity)};
    const int64_t width = context.width, hidden = config.leaf_width;
    const int64_t leaves = static_cast<int64_t>(shape_.leaves());
    p_.node_weights = register_parameter("node_weights",
                                         UniformInit({leaves - 1, width}, 1.0 / std::sqrt(static_cast<double>(width))));
    p_.node_biases = register_parameter("node_biases", torch::zeros({leaves - 1, 1}));
    p_.w1s = register_parameter("w1s", NormalInit({leaves, width, hidden}, context.init_std));
    p_.b1s = register_parameter("b1s", torch::zeros({leaves, hidden}));
    p_.w2s = register_parameter("w2s", NormalInit({leaves, hidden, width}, context.init_std));
    p_.b2s = register_parameter("b2s", torch::zeros({leaves, width}));
  }

  Output Forward(const torch::Tensor& x) override {
    const Parameters& p = p_;
    const bool kernel = UseKernel(options_.form, x);
    const bool regularize = is_training() && (options_.balance > 0 || options_.hardening > 0);
    torch::Tensor logits;
    if (!kernel || regularize || Collecting()) logits = DecisionLogits(x, p);
    torch::Tensor y, chosen;
    if (kernel) {
      const auto out = LeafTreeFunction::apply(x.contiguous(), p.node_weights, p.node_biases, p.w1s, p.b1s, p.w2s,
                                               p.b2s, shape_, options_.pool);
      y = out[0];
      chosen = out[1].to(torch::kLong);
    } else {
      const torch::Tensor gates = Gates(logits, &chosen);
      y = GatedLeaves(x, gates, p);
    }
    if (Collecting()) {
      RecordVisits(chosen, x.size(0));
      RecordEntropy(DecisionEntropy(logits.detach()).sum(0));
    }
    return {y, regularize ? Regularizer(logits, chosen) : torch::Tensor()};
  }

  UnitLayout Units() const override {
    UnitLayout layout;
    layout.unit_level.assign(shape_.leaves(), static_cast<int32_t>(shape_.depth));
    AppendTreeLevels(shape_.depth, &layout.decision_level);
    layout.parameters = {{"w1s", p_.w1s, 0}, {"b1s", p_.b1s, 0}, {"w2s", p_.w2s, 0}, {"b2s", p_.b2s, 0}};
    layout.decision_parameters = {{"node_weights", p_.node_weights, 0}, {"node_biases", p_.node_biases, 0}};
    return layout;
  }

 private:
  // Scaled, in fp32 (or double) also under autocast: probabilities of deep leaves are products of many decisions.
  torch::Tensor DecisionLogits(const torch::Tensor& x, const Parameters& p) const {
    const torch::Tensor logits = torch::linear(x, p.node_weights, p.node_biases.flatten());
    return (logits.scalar_type() == torch::kDouble ? logits : logits.to(torch::kFloat)) * shape_.decision_scale;
  }

  // Gates of all leaves, 0 where not chosen, [tokens, leaves]; `chosen` [tokens, paths].
  torch::Tensor Gates(const torch::Tensor& logits, torch::Tensor* chosen) const {
    if (shape_.paths == 1) {
      const torch::Tensor decided = DecidedLeaf(logits, shape_.depth).to(logits.scalar_type());
      *chosen = decided.argmax(1, /*keepdim=*/true);
      return decided;
    }
    const torch::Tensor log_p = LogProbabilities(logits, shape_.depth);
    const auto [top, leaves] = log_p.topk(static_cast<int64_t>(shape_.paths), 1);
    *chosen = leaves;
    return torch::zeros_like(log_p).scatter(1, leaves, torch::softmax(top, 1));  // softmax of log p renormalizes p
  }

  // sum_i g_i f_i(x), every leaf computed: two products as large as a dense layer's.
  torch::Tensor GatedLeaves(const torch::Tensor& x, const torch::Tensor& gates, const Parameters& p) const {
    const int64_t leaves = p.w1s.size(0), hidden = p.w1s.size(2), width = p.w1s.size(1);
    const torch::Tensor w1 = p.w1s.transpose(1, 2).reshape({leaves * hidden, width});
    const torch::Tensor h = Activate(shape_.activation, torch::linear(x, w1, p.b1s.flatten()));
    const torch::Tensor g = gates.to(h.scalar_type());
    const torch::Tensor gated = (h.view({-1, leaves, hidden}) * g.unsqueeze(-1)).flatten(1);
    return torch::matmul(gated, p.w2s.view({leaves * hidden, -1})) + torch::matmul(g, p.b2s);
  }

  // balance: leaves x sum_i f_i P_i, as in mixtures of experts: f_i the fraction of visits to leaf i (no gradient), P_i
  // its mean probability; 1 when even. hardening: the summed mean entropy of the decisions.
  torch::Tensor Regularizer(const torch::Tensor& logits, const torch::Tensor& chosen) const {
    torch::Tensor sum = torch::zeros({}, logits.options());
    if (options_.balance > 0) {
      const int64_t leaves = static_cast<int64_t>(shape_.leaves());
      const torch::Tensor mean_p = Probabilities(logits, shape_.depth).mean(0);
      const torch::Tensor visited = chosen.flatten();
      const torch::Tensor visits = torch::zeros({leaves}, logits.options())
                                       .scatter_add_(0, visited, torch::ones(visited.sizes(), logits.options()));
      const double scale = options_.balance * static_cast<double>(leaves) / static_cast<double>(visited.numel());
      sum = sum + (visits * mean_p).sum() * scale;
    }
    if (options_.hardening > 0) {
      sum = sum + DecisionEntropy(logits).mean(0).sum() * options_.hardening;
    }
    return sum;
  }

  ModuleOptions options_;
  LeafTreeShape shape_;
  Parameters p_;  // the registered tensors: .to(device) and optimizers change them in place
};

}  // namespace

std::shared_ptr<FeedForward> MakeLeafTree(const FeedForwardContext& context) {
  return std::make_shared<LeafTree>(context);
}

}  // namespace grove::nn
