// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/neuron_paths.h"

#include "grove/base/check.h"

#ifdef GROVE_CUDA
#include "grove/nn/cuda/neuron_path_kernels.h"
#include "grove/nn/cuda_tensor.h"
#endif

namespace grove::nn {

#ifdef GROVE_CUDA

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

cuda::NeuronPaths Arguments(int64_t tokens, int64_t columns, const NeuronTreeShape& shape) {
  return {.tokens = tokens,
          .trees = static_cast<int64_t>(shape.trees),
          .depth = static_cast<int64_t>(shape.depth),
          .columns = columns,
          .activation = CudaActivation(shape.activation)};
}

struct Walk : torch::CustomClassHolder {
  Walk(const NeuronTreeShape& tree_shape, bool estimated) : shape(tree_shape), straight_through(estimated) {}
  NeuronTreeShape shape;
  bool straight_through;
};

class NeuronPathFunction : public torch::autograd::Function<NeuronPathFunction> {
 public:
  static variable_list forward(AutogradContext* context, const torch::Tensor& logits, const torch::Tensor& nodes,
                               const NeuronTreeShape& shape, bool straight_through) {
    const torch::Tensor h = torch::zeros_like(logits);
    const torch::Tensor left = shape.two_sided ? torch::zeros_like(logits) : torch::Tensor();
    cuda::ActivateNeuronPaths(Arguments(logits.size(0), logits.size(1), shape), Bf16(logits), Whole(nodes), Bf16(h),
                              left.defined() ? Bf16(left) : nullptr, CurrentStream());
    context->save_for_backward({logits, nodes});
    context->saved_data["walk"] = torch::IValue::make_capsule(c10::make_intrusive<Walk>(shape, straight_through));
    if (!shape.two_sided) return {h};
    return {h, left};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &logits = saved[0], &nodes = saved[1];
    const auto walk = c10::static_intrusive_pointer_cast<Walk>(context->saved_data["walk"].toCapsule());
    const torch::Tensor d_h = gradients[0].contiguous();
    const torch::Tensor d_left = walk->shape.two_sided ? gradients[1].contiguous() : torch::Tensor();
    const torch::Tensor d_logits = torch::zeros_like(logits);
    cuda::ActivateNeuronPathsBackward(Arguments(logits.size(0), logits.size(1), walk->shape), Bf16(logits),
                                      Whole(nodes), Bf16(d_h), d_left.defined() ? Bf16(d_left) : nullptr,
                                      walk->straight_through, Bf16(d_logits), CurrentStream());
    return {d_logits, {}, {}, {}};
  }
};

}  // namespace

bool CanWalkNeuronPaths(const torch::Tensor& x) { return x.is_cuda() && Autocasting() && x.size(0) > 0; }

torch::Tensor DecideNeuronPaths(const torch::Tensor& turns, const NeuronTreeShape& shape, int64_t nodes_of_tree) {
  const torch::Tensor signs = turns.detach().to(torch::kBFloat16).contiguous();
  const torch::Tensor nodes = torch::empty({signs.size(0), static_cast<int64_t>(shape.trees * shape.levels())},
                                           signs.options().dtype(torch::kLong));
  cuda::DecideNeuronPaths(Arguments(signs.size(0), signs.size(1), shape), Bf16(signs), signs.size(1), nodes_of_tree,
                          Whole(nodes), CurrentStream());
  return nodes;
}

std::vector<torch::Tensor> NeuronPathActivations(const torch::Tensor& logits, const torch::Tensor& nodes,
                                                 const NeuronTreeShape& shape, bool straight_through) {
  return NeuronPathFunction::apply(logits.contiguous(), nodes.contiguous(), shape, straight_through);
}

#else

bool CanWalkNeuronPaths(const torch::Tensor&) { return false; }

torch::Tensor DecideNeuronPaths(const torch::Tensor&, const NeuronTreeShape&, int64_t) {
  GROVE_CHECK(!"CanWalkNeuronPaths() was asked first");
  return {};
}

std::vector<torch::Tensor> NeuronPathActivations(const torch::Tensor&, const torch::Tensor&, const NeuronTreeShape&,
                                                 bool) {
  GROVE_CHECK(!"CanWalkNeuronPaths() was asked first");
  return {};
}

#endif

}  // namespace grove::nn
