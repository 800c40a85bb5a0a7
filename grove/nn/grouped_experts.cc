// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/nn/grouped_experts.h"

#include <algorithm>
#include <vector>

#include "grove/base/check.h"

#if defined(GROVE_CUDA) && TORCH_VERSION_MAJOR >= 2
#define GROVE_GROUPED_EXPERTS
#include <ATen/cuda/CUDAContext.h>

#include "grove/nn/cuda/expert_kernels.h"
#include "grove/nn/cuda_tensor.h"
#endif

namespace grove::nn {

#ifdef GROVE_GROUPED_EXPERTS

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The visits in expert order. A slot is token x paths + path.
struct ExpertOrder {
  torch::Tensor slot;    // [visits] int64, the slot of each row
  torch::Tensor row_of;  // [visits] int64, the row of each slot
  torch::Tensor ends;    // [experts] int32, where each expert's rows end
};

ExpertOrder OrderVisits(const torch::Tensor& chosen, int64_t experts) {
  const int64_t visits = chosen.numel(), segments = cuda::OrderSegments(visits);
  const torch::Tensor counts = torch::empty({experts * segments}, chosen.options().dtype(torch::kInt));
  cuda::CountVisits(Whole(chosen), visits, experts, counts.data_ptr<int32_t>(), CurrentStream());
  const torch::Tensor ends = counts.cumsum(0, torch::kInt);
  const ExpertOrder order{torch::empty({visits}, chosen.options()), torch::empty({visits}, chosen.options()),
                          ends.view({experts, segments}).select(1, segments - 1).contiguous()};
  cuda::PlaceVisits(Whole(chosen), visits, experts, ends.data_ptr<int32_t>(), Whole(order.slot), Whole(order.row_of),
                    CurrentStream());
  return order;
}

torch::Tensor Gather(const torch::Tensor& x, const torch::Tensor& slot, int64_t paths, bool with_one) {
  const int64_t rows = slot.numel(), width = x.size(1);
  const torch::Tensor out = torch::empty({rows, width + (with_one ? cuda::kExtra : 0)}, x.options());
  cuda::GatherRows(Bf16(x), Whole(slot), rows, width, paths, with_one, Bf16(out), CurrentStream());
  return out;
}

torch::Tensor Combine(const torch::Tensor& rows, const torch::Tensor& row_of, int64_t paths, int64_t width) {
  const int64_t tokens = row_of.numel() / paths;
  const torch::Tensor y = torch::empty({tokens, width}, rows.options());
  cuda::CombineRows(Bf16(rows), Whole(row_of), tokens, paths, width, rows.size(1), Bf16(y), CurrentStream());
  return y;
}

// Weights with the bias as one more row, and zero rows for the alignment: [experts, in + kExtra, out], bf16.
torch::Tensor WithBias(const torch::Tensor& w, const torch::Tensor& b) {
  const torch::Tensor zeros = torch::zeros({w.size(0), cuda::kExtra - 1, w.size(2)}, w.options());
  return torch::cat({w, b.unsqueeze(1), zeros}, 1).to(torch::kBFloat16);
}

// _grouped_mm takes fewer than 1,024 groups. More are computed in parts; where the rows of a part begin must then be
// known here, which waits for the GPU.
constexpr int64_t kMostGroups = 1023;

// product(first group, groups, first row, rows) for each part.
template <class Product>
void ForEachPart(const torch::Tensor& ends, Product product) {
  const torch::Tensor known = ends.cpu();
  const int32_t* end = known.data_ptr<int32_t>();
  for (int64_t first = 0; first < ends.size(0); first += kMostGroups) {
    const int64_t groups = std::min(kMostGroups, ends.size(0) - first), row = first == 0 ? 0 : end[first - 1];
    product(first, groups, row, end[first + groups - 1] - row);
  }
}

// Rows of each expert times its matrix: rows [visits, in], w [experts, in, out] -> [visits, out].
torch::Tensor TimesExperts(const torch::Tensor& rows, const torch::Tensor& w, const torch::Tensor& ends) {
  if (ends.size(0) <= kMostGroups) return at::_grouped_mm(rows, w, ends);
  std::vector<torch::Tensor> parts;
  ForEachPart(ends, [&](int64_t first, int64_t groups, int64_t row, int64_t count) {
    if (count == 0) return;
    parts.push_back(
        at::_grouped_mm(rows.narrow(0, row, count), w.narrow(0, first, groups), ends.narrow(0, first, groups) - row));
  });
  return torch::cat(parts);
}

// a^T b over each expert's rows: a [visits, in], b [visits, out] -> [experts, in, out].
torch::Tensor OverRowsOfExperts(const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& ends) {
  if (ends.size(0) <= kMostGroups) return at::_grouped_mm(a.t(), b, ends);
  const torch::Tensor products = torch::zeros({ends.size(0), a.size(1), b.size(1)}, b.options());
  ForEachPart(ends, [&](int64_t first, int64_t groups, int64_t row, int64_t count) {
    if (count == 0) return;
    products.narrow(0, first, groups)
        .copy_(
            at::_grouped_mm(a.narrow(0, row, count).t(), b.narrow(0, row, count), ends.narrow(0, first, groups) - row));
  });
  return products;
}

// Takes weights that already hold their biases, so that their gradients come out of the same products.
class GroupedExpertsFunction : public torch::autograd::Function<GroupedExpertsFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x, const torch::Tensor& chosen,
                               const torch::Tensor& gates, const torch::Tensor& w1, const torch::Tensor& w2,
                               int64_t activation) {
    const int64_t paths = chosen.size(1), hidden = w1.size(2);
    const ExpertOrder order = OrderVisits(chosen, w1.size(0));
    const torch::Tensor in = Gather(x, order.slot, paths, /*with_one=*/true);
    const torch::Tensor h = TimesExperts(in, w1, order.ends);
    const torch::Tensor gated = torch::empty({h.size(0), hidden + cuda::kExtra}, h.options());
    cuda::ActivateAndGate(Bf16(h), gates.data_ptr<float>(), Whole(order.slot), h.size(0), hidden,
                          static_cast<cuda::ExpertActivation>(activation), Bf16(gated), CurrentStream());
    const torch::Tensor out = TimesExperts(gated, w2, order.ends);
    context->saved_data["activation"] = activation;
    context->save_for_backward({in, h, gated, gates, w1, w2, order.slot, order.row_of, order.ends});
    return Combine(out, order.row_of, paths, w2.size(2));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &in = saved[0], &h = saved[1], &gated = saved[2], &gates = saved[3], &w1 = saved[4],
                        &w2 = saved[5], &slot = saved[6], &row_of = saved[7], &ends = saved[8];
    const int64_t paths = gates.size(1), hidden = h.size(1), width = in.size(1) - cuda::kExtra;
    const torch::Tensor dy = gradients[0].to(torch::kBFloat16).contiguous();
    const torch::Tensor d_out = Gather(dy, slot, paths, /*with_one=*/false);
    const torch::Tensor d_gated = TimesExperts(d_out, w2.transpose(1, 2), ends);
    const torch::Tensor d_w2 = OverRowsOfExperts(gated, d_out, ends);
    const torch::Tensor d_h = torch::empty_like(h), d_gates = torch::empty_like(gates);
    cuda::ActivateAndGateBackward(Bf16(h), gates.data_ptr<float>(), Whole(slot), Bf16(d_gated), h.size(0), hidden,
                                  static_cast<cuda::ExpertActivation>(context->saved_data["activation"].toInt()),
                                  Bf16(d_h), d_gates.data_ptr<float>(), CurrentStream());
    const torch::Tensor d_w1 = OverRowsOfExperts(in, d_h, ends);
    const torch::Tensor d_in = TimesExperts(d_h, w1.transpose(1, 2), ends);
    return {Combine(d_in, row_of, paths, width), {}, d_gates, d_w1, d_w2, {}};
  }
};

}  // namespace

bool CanGroupExperts(const torch::Tensor& x, const ExpertWeights& weights) {
  const auto fits = [](int64_t size) { return size % 8 == 0; };
  // Of few stored neurons the masked dense form is faster: on an H100, 1,024 neurons of width 192 at 3.2 against 3.0 M
  // tokens/s, 1,536 of width 384 at 1.8 against 2.2.
  constexpr int64_t kFewStored = int64_t{1} << 19;
  if (weights.w1s.numel() < kFewStored) return false;
  return x.is_cuda() && Autocasting() && weights.w1s.size(0) <= cuda::kMostOrderedExperts && x.size(0) > 0 &&
         fits(weights.w1s.size(1)) && fits(weights.w1s.size(2)) && fits(weights.w2s.size(2)) &&
         at::cuda::getCurrentDeviceProperties()->major >= 9;
}

torch::Tensor GroupedExperts(const torch::Tensor& x, const torch::Tensor& chosen, const torch::Tensor& gates,
                             const ExpertWeights& weights, Activation activation) {
  return GroupedExpertsFunction::apply(x.to(torch::kBFloat16).contiguous(), chosen.contiguous(),
                                       gates.to(torch::kFloat).contiguous(), WithBias(weights.w1s, weights.b1s),
                                       WithBias(weights.w2s, weights.b2s),
                                       static_cast<int64_t>(CudaActivation(activation)));
}

#else

bool CanGroupExperts(const torch::Tensor&, const ExpertWeights&) { return false; }

torch::Tensor GroupedExperts(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&, const ExpertWeights&,
                             Activation) {
  GROVE_CHECK(!"CanGroupExperts() was asked first");
  return {};
}

#endif

}  // namespace grove::nn
