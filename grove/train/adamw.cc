// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/adamw.h"

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

namespace grove::train {
namespace {

// Each parameter starts on a cache line: matrix products read aligned rows.
constexpr int64_t kAlign = 16;

int64_t Elements(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

torch::Tensor ViewOf(const torch::Tensor& buffer, int64_t offset, const std::vector<int64_t>& shape) {
  return buffer.narrow(0, offset, Elements(shape)).view(shape);
}

}  // namespace

bool TakesWeightDecay(std::string_view parameter) {
  return parameter.find("bias") == std::string_view::npos && parameter.find("norm") == std::string_view::npos &&
         !parameter.ends_with(".b1s") && !parameter.ends_with(".b2s");
}

AdamW::AdamW(torch::nn::Module& model, const AdamWOptions& options) : options_(options) {
  const torch::NoGradGuard no_grad;
  int64_t total = 0;
  for (const bool decay : {true, false}) {
    for (const auto& item : model.named_parameters()) {
      if (TakesWeightDecay(item.key()) != decay) continue;
      slices_[item.key()] = {total, item.value().sizes().vec()};
      total += (item.value().numel() + kAlign - 1) / kAlign * kAlign;
    }
    if (decay) decayed_ = total;
  }
  const auto where = model.parameters().front().options().requires_grad(false);
  for (torch::Tensor* buffer : {&parameters_, &gradients_, &first_, &second_}) *buffer = torch::zeros({total}, where);
  for (const auto& item : model.named_parameters()) {
    const Slice& slice = slices_.at(item.key());
    ViewOf(parameters_, slice.offset, slice.shape).copy_(item.value());
  }
  PointAtBuffers(model, gradients_);
}

void AdamW::PointAtBuffers(torch::nn::Module& model, const torch::Tensor& gradients) const {
  for (const auto& item : model.named_parameters()) {
    const Slice& slice = slices_.at(item.key());
    torch::Tensor parameter = item.value();
    parameter.set_data(ViewOf(parameters_, slice.offset, slice.shape));
    // Autograd adds into a gradient that exists already.
    parameter.mutable_grad() = ViewOf(gradients, slice.offset, slice.shape);
  }
}

torch::Tensor AdamW::Share(torch::nn::Module& replica) const {
  const torch::NoGradGuard no_grad;
  torch::Tensor gradients = torch::zeros_like(gradients_);
  PointAtBuffers(replica, gradients);
  return gradients;
}

void AdamW::ZeroGradients() { gradients_.zero_(); }

torch::Tensor AdamW::Step(double rate) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor norm = gradients_.norm();
  gradients_.mul_((options_.clip / (norm + 1e-6)).clamp_max(1.0));
  ++steps_;
  const double correction1 = 1.0 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = 1.0 - std::pow(options_.beta2, static_cast<double>(steps_));
  first_.mul_(options_.beta1).add_(gradients_, 1.0 - options_.beta1);
  second_.mul_(options_.beta2).addcmul_(gradients_, gradients_, 1.0 - options_.beta2);
  const torch::Tensor denominator = second_.sqrt().div_(std::sqrt(correction2)).add_(options_.epsilon);
  parameters_.narrow(0, 0, decayed_).mul_(1.0 - rate * options_.weight_decay);
  parameters_.addcdiv_(first_, denominator, -rate / correction1);
  return norm;
}

std::map<std::string, AdamW::Moments> AdamW::moments() const {
  std::map<std::string, Moments> moments;
  for (const auto& [name, slice] : slices_) {
    moments[name] = {ViewOf(first_, slice.offset, slice.shape), ViewOf(second_, slice.offset, slice.shape)};
  }
  return moments;
}

}  // namespace grove::train
