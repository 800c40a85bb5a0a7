// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/fused_ops.h"

#include <algorithm>

#ifdef GROVE_CUDA
#include "grove/nn/cuda/fused_kernels.h"
#include "grove/nn/cuda_tensor.h"
#endif

namespace grove::nn {
namespace {

Residual PlainAddNorm(const torch::Tensor& h, const torch::Tensor& delta, torch::nn::LayerNorm& norm) {
  const torch::Tensor sum = delta.defined() ? h + delta : h;
  return {sum, norm->forward(sum)};
}

torch::Tensor PlainMeanCrossEntropy(const torch::Tensor& logits, const torch::Tensor& labels) {
  // The mean as a sum: over no words it is 0 and not 0 / 0.
  const torch::Tensor sum =
      torch::cross_entropy_loss(logits.to(torch::kFloat), labels, /*weight=*/{}, at::Reduction::Sum);
  return sum / static_cast<double>(std::max<int64_t>(labels.size(0), 1));
}

#ifdef GROVE_CUDA

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool BitAligned(const torch::Tensor& t) { return reinterpret_cast<uintptr_t>(t.data_ptr()) % 16 == 0; }

template <class T>
T* Pointer(const torch::Tensor& t) {
  return t.defined() && t.numel() > 0 ? static_cast<T*>(t.data_ptr()) : nullptr;
}

// Calls body with a null pointer of delta's element type.
template <class Body>
void WithDeltaType(const torch::Tensor& delta, const Body& body) {
  if (delta.defined() && delta.scalar_type() == torch::kFloat) {
    body(static_cast<float*>(nullptr));
  } else {
    body(static_cast<__nv_bfloat16*>(nullptr));
  }
}

class AddNormFunction : public torch::autograd::Function<AddNormFunction> {
 public:
  // An absent delta comes as an empty tensor: autograd functions take no undefined ones. -> {sum, normalized}, or
  // {normalized} without delta.
  static variable_list forward(AutogradContext* context, const torch::Tensor& h, const torch::Tensor& delta,
                               const torch::Tensor& gamma, const torch::Tensor& beta, double epsilon) {
    const bool has_delta = delta.numel() > 0;
    const int64_t width = h.size(-1), rows = h.numel() / width;
    const torch::Tensor sum = has_delta ? torch::empty_like(h) : h;
    const torch::Tensor normalized = torch::empty(h.sizes(), h.options().dtype(torch::kBFloat16));
    const torch::Tensor mean = torch::empty({rows}, h.options()), rstd = torch::empty({rows}, h.options());
    WithDeltaType(delta, [&](auto* type) {
      using Delta = std::remove_pointer_t<decltype(type)>;
      cuda::AddNormForward<Delta>(
          {rows, width, Pointer<float>(h), Pointer<Delta>(delta), Pointer<float>(gamma), Pointer<float>(beta),
           static_cast<float>(epsilon), has_delta ? Pointer<float>(sum) : nullptr, Pointer<__nv_bfloat16>(normalized),
           Pointer<float>(mean), Pointer<float>(rstd)},
          CurrentStream());
    });
    context->set_materialize_grads(false);
    context->saved_data["delta_type"] = static_cast<int64_t>(delta.scalar_type());
    context->saved_data["delta"] = has_delta;
    context->save_for_backward({sum, gamma, mean, rstd});
    if (!has_delta) return {normalized};
    return {sum, normalized};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &sum = saved[0], &gamma = saved[1];
    const bool has_delta = context->saved_data["delta"].toBool();
    const auto delta_type = static_cast<torch::ScalarType>(context->saved_data["delta_type"].toInt());
    const torch::Tensor d_sum = has_delta && gradients[0].defined() ? gradients[0].contiguous() : torch::Tensor();
    torch::Tensor d_normalized = gradients[has_delta ? 1 : 0];
    if (!d_normalized.defined()) d_normalized = torch::zeros(sum.sizes(), sum.options().dtype(torch::kBFloat16));
    d_normalized = d_normalized.to(torch::kBFloat16).contiguous();
    const int64_t width = sum.size(-1), rows = sum.numel() / width, blocks = cuda::AddNormBlocks(rows);
    const torch::Tensor d_h = torch::empty_like(sum);
    const torch::Tensor d_delta =
        has_delta ? torch::empty(sum.sizes(), sum.options().dtype(delta_type)) : torch::Tensor();
    const torch::Tensor parts = torch::empty({2, blocks, width}, sum.options());
    WithDeltaType(d_delta, [&](auto* type) {
      using Delta = std::remove_pointer_t<decltype(type)>;
      cuda::AddNormBackward<Delta>(
          {rows, width, Pointer<float>(sum), Pointer<float>(gamma), Pointer<float>(saved[2]), Pointer<float>(saved[3]),
           Pointer<float>(d_sum), Pointer<__nv_bfloat16>(d_normalized), Pointer<float>(d_h), Pointer<Delta>(d_delta),
           Pointer<float>(parts), Pointer<float>(parts) + blocks * width},
          CurrentStream());
    });
    const torch::Tensor sums = parts.sum(1);
    return {d_h, d_delta, sums[0], sums[1], {}};
  }
};

class MeanCrossEntropyFunction : public torch::autograd::Function<MeanCrossEntropyFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& logits, const torch::Tensor& labels) {
    const int64_t rows = logits.size(0), classes = logits.size(1);
    const auto options = logits.options().dtype(torch::kFloat);
    const torch::Tensor loss = torch::empty({rows}, options), log_sum = torch::empty({rows}, options);
    cuda::CrossEntropyForward(Pointer<__nv_bfloat16>(logits), Pointer<int64_t>(labels), rows, classes,
                              Pointer<float>(loss), Pointer<float>(log_sum), CurrentStream());
    context->save_for_backward({logits, labels, log_sum});
    return loss.mean();
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const int64_t rows = saved[0].size(0), classes = saved[0].size(1);
    const torch::Tensor scale = (gradients[0] / static_cast<double>(rows)).to(torch::kFloat);
    const torch::Tensor d_logits = torch::empty_like(saved[0]);
    cuda::CrossEntropyBackward(Pointer<__nv_bfloat16>(saved[0]), Pointer<int64_t>(saved[1]), Pointer<float>(saved[2]),
                               Pointer<float>(scale), rows, classes, Pointer<__nv_bfloat16>(d_logits), CurrentStream());
    return {d_logits, {}};
  }
};

bool FusesAddNorm(const torch::Tensor& h, const torch::Tensor& delta, const torch::nn::LayerNorm& norm) {
  const int64_t width = h.size(-1);
  const bool fits = h.is_cuda() && h.scalar_type() == torch::kFloat && h.is_contiguous() && BitAligned(h) &&
                    h.numel() > 0 && width % 4 == 0 && width <= cuda::kLargestNormWidth;
  if (!fits || !Autocasting() || !norm->options.elementwise_affine()) return false;
  if (!delta.defined()) return true;
  const auto type = delta.scalar_type();
  return (type == torch::kFloat || type == torch::kBFloat16) && delta.sizes() == h.sizes() && BitAligned(delta);
}

bool FusesCrossEntropy(const torch::Tensor& logits) {
  return logits.is_cuda() && logits.scalar_type() == torch::kBFloat16 && logits.is_contiguous() && logits.numel() > 0 &&
         logits.size(1) % 8 == 0 && BitAligned(logits);
}

#endif

}  // namespace

Residual AddNorm(const torch::Tensor& h, const torch::Tensor& delta, torch::nn::LayerNorm& norm) {
#ifdef GROVE_CUDA
  if (FusesAddNorm(h, delta, norm)) {
    const torch::Tensor absent = torch::empty({0}, h.options());
    const variable_list out = AddNormFunction::apply(h, delta.defined() ? delta.contiguous() : absent, norm->weight,
                                                     norm->bias, norm->options.eps());
    if (delta.defined()) return {out[0], out[1]};
    return {h, out[0]};
  }
#endif
  return PlainAddNorm(h, delta, norm);
}

torch::Tensor MeanCrossEntropy(const torch::Tensor& logits, const torch::Tensor& labels) {
#ifdef GROVE_CUDA
  if (FusesCrossEntropy(logits)) return MeanCrossEntropyFunction::apply(logits, labels.contiguous());
#endif
  return PlainMeanCrossEntropy(logits, labels);
}

}  // namespace grove::nn
