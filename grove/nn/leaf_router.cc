// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/leaf_router.h"

#include "grove/base/check.h"

#ifdef GROVE_CUDA
#include "grove/nn/cuda/leaf_router_kernels.h"
#include "grove/nn/cuda_tensor.h"
#endif

namespace grove::nn {

#ifdef GROVE_CUDA

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

cuda::LeafRouter Arguments(const LeafRouterShape& shape, const torch::Tensor& logits) {
  return {.tokens = logits.size(0),
          .trees = shape.trees,
          .depth = static_cast<int64_t>(shape.depth),
          .paths = shape.paths,
          .columns = logits.size(1),
          .scale = static_cast<float>(shape.scale),
          .renormalize = shape.renormalize,
          .logits = Bf16(logits)};
}

struct KeptShape : torch::CustomClassHolder {
  explicit KeptShape(const LeafRouterShape& kept) : shape(kept) {}
  LeafRouterShape shape;
};

class RouteLeavesFunction : public torch::autograd::Function<RouteLeavesFunction> {
 public:
  // logits [tokens, columns] bf16 -> {chosen, gates, p summed over the tokens [trees x leaves], visits}
  static variable_list forward(AutogradContext* context, const torch::Tensor& logits, const LeafRouterShape& shape) {
    const cuda::LeafRouter router = Arguments(shape, logits);
    const auto floats = logits.options().dtype(torch::kFloat);
    const torch::Tensor chosen =
        torch::empty({router.tokens, shape.trees * shape.paths}, logits.options().dtype(torch::kLong));
    const torch::Tensor gates = torch::empty(chosen.sizes(), floats);
    const torch::Tensor sums =
        torch::empty({2, cuda::RouterBlocks(router.tokens), shape.trees * shape.leaves()}, floats);
    cuda::RouteLeavesForward(router, Whole(chosen), gates.data_ptr<float>(), sums[0].data_ptr<float>(),
                             sums[1].data_ptr<float>(), CurrentStream());
    const torch::Tensor totals = sums.sum(1);
    const torch::Tensor p = totals[0], visits = totals[1];
    context->save_for_backward({logits, chosen, gates});
    context->saved_data["shape"] = torch::IValue::make_capsule(c10::make_intrusive<KeptShape>(shape));
    context->mark_non_differentiable({chosen, visits});
    context->set_materialize_grads(false);
    return {chosen, gates, p, visits};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &logits = saved[0], &chosen = saved[1], &gates = saved[2];
    const LeafRouterShape& shape =
        c10::static_intrusive_pointer_cast<KeptShape>(context->saved_data["shape"].toCapsule())->shape;
    const torch::Tensor d_gates = gradients[1].defined() ? gradients[1].contiguous() : torch::zeros_like(gates);
    const torch::Tensor d_p = gradients[2].defined() ? gradients[2].contiguous() : torch::Tensor();
    const torch::Tensor d_logits = torch::empty_like(logits);
    cuda::RouteLeavesBackward(Arguments(shape, logits), Whole(chosen), gates.data_ptr<float>(),
                              d_gates.data_ptr<float>(), d_p.defined() ? d_p.data_ptr<float>() : nullptr,
                              Bf16(d_logits), CurrentStream());
    return {d_logits, {}};
  }
};

}  // namespace

bool CanRouteLeaves(const torch::Tensor& x, const LeafRouterShape& shape) {
  return x.is_cuda() && Autocasting() && x.size(0) > 0 && cuda::CanRouteDepth(shape.depth) &&
         shape.paths <= cuda::kMostPaths;
}

LeafRoutes RouteLeaves(const torch::Tensor& x, const torch::Tensor& node_weights, const torch::Tensor& node_biases,
                       const LeafRouterShape& shape, torch::Tensor* logits) {
  // Products of 2^n - 1 columns are several times slower than of a multiple of 8.
  const int64_t padding = (8 - shape.decisions() % 8) % 8;
  const torch::Tensor weights = torch::constant_pad_nd(node_weights, {0, 0, 0, padding});
  const torch::Tensor biases = torch::constant_pad_nd(node_biases.flatten(), {0, padding});
  const torch::Tensor all = torch::linear(x, weights, biases).contiguous();
  if (logits != nullptr) *logits = all.narrow(1, 0, shape.decisions()).view({x.size(0), shape.trees, -1});
  const variable_list out = RouteLeavesFunction::apply(all, shape);
  return {out[0], out[1], out[2] * (1.0 / static_cast<double>(x.size(0))), out[3]};
}

#else

bool CanRouteLeaves(const torch::Tensor&, const LeafRouterShape&) { return false; }

LeafRoutes RouteLeaves(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&, const LeafRouterShape&,
                       torch::Tensor*) {
  GROVE_CHECK(!"CanRouteLeaves() was asked first");
  return {};
}

#endif

}  // namespace grove::nn
