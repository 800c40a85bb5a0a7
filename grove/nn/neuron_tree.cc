// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Neuron trees (kernels/neuron_tree.h). Routing takes no gradient: a logit learns only through the value of its node.
//
// Initialization is the published class's: w_in, b_in uniform in +-1/sqrt(width), w_out uniform in
// +-1/sqrt(trees x levels), so that a token's output has the scale of a dense layer as wide as the active neurons.
#include "grove/kernels/neuron_tree.h"

#include <cmath>
#include <utility>

#include "grove/nn/feed_forward.h"

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

// 1 where the token's path passes, else 0; logits and result [tokens, trees, nodes_per_tree]. Breadth-first order makes
// each level a contiguous slice, and the next level is this one split by its decisions.
torch::Tensor PathMask(const torch::Tensor& logits, size_t levels) {
  const torch::Tensor right = logits.detach() > 0;
  std::vector<torch::Tensor> masks{torch::ones_like(right.narrow(-1, 0, 1))};
  for (size_t level = 1; level < levels; ++level) {
    const int64_t parents = int64_t{1} << (level - 1);
    const torch::Tensor turn = right.narrow(-1, parents - 1, parents);
    const torch::Tensor reached = masks.back();
    masks.push_back(torch::stack({reached & ~turn, reached & turn}, -1).flatten(-2));
  }
  return torch::cat(masks, -1);
}

class NeuronTree final : public FeedForward {
 public:
  explicit NeuronTree(const FeedForwardContext& context) : options_(context.options) {
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
    if (!shape_.two_sided) return;
    linear_out_left_ = register_module("linear_out_left",
                                       torch::nn::Linear(torch::nn::LinearOptions(nodes, context.width).bias(false)));
    linear_out_left_->weight.uniform_(-out_bound, out_bound);
  }

  Output Forward(const torch::Tensor& x) override {
    if (!UseKernel(options_.form, x)) return {MaskedDense(x), {}};
    const torch::Tensor left = shape_.two_sided ? linear_out_left_->weight : torch::empty({0});
    const auto out = NeuronTreeFunction::apply(x.contiguous(), linear_in_->weight, linear_in_->bias,
                                               linear_out_->weight, left, shape_, options_.pool);
    if (Collecting()) RecordVisits(out[1], x.size(0));
    return {out[0], {}};
  }

  UnitLayout Units() const override {
    UnitLayout layout;
    layout.unit_level.reserve(shape_.nodes());
    for (size_t tree = 0; tree < shape_.trees; ++tree) AppendTreeLevels(shape_.levels(), &layout.unit_level);
    layout.parameters = {{"linear_in.weight", linear_in_->weight, 0},
                         {"linear_in.bias", linear_in_->bias, 0},
                         {"linear_out.weight", linear_out_->weight, 1}};
    if (shape_.two_sided) layout.parameters.push_back({"linear_out_left.weight", linear_out_left_->weight, 1});
    return layout;
  }

 private:
  torch::Tensor MaskedDense(const torch::Tensor& x) {
    const torch::Tensor logits = linear_in_->forward(x);
    const auto per_tree =
        logits.view({-1, static_cast<int64_t>(shape_.trees), static_cast<int64_t>(shape_.nodes_per_tree())});
    const torch::Tensor mask = PathMask(per_tree, shape_.levels()).view_as(logits);
    if (Collecting()) RecordVisitCounts(mask.sum(0), x.size(0));
    torch::Tensor y = linear_out_->forward(Activate(shape_.activation, logits) * mask);
    if (shape_.two_sided) y = y + linear_out_left_->forward(Activate(shape_.activation, -logits) * mask);
    return y;
  }

  ModuleOptions options_;
  NeuronTreeShape shape_;
  torch::nn::Linear linear_in_{nullptr}, linear_out_{nullptr}, linear_out_left_{nullptr};
};

}  // namespace

std::shared_ptr<FeedForward> MakeNeuronTree(const FeedForwardContext& context) {
  return std::make_shared<NeuronTree>(context);
}

}  // namespace grove::nn
