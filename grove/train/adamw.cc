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

struct UnitParameter {
  const nn::FeedForward* layer;
  std::string layer_name;
  int64_t dim;
};

// The parameters that belong to units, by name.
std::map<std::string, UnitParameter> UnitParameters(const torch::nn::Module& model) {
  std::map<std::string, UnitParameter> parameters;
  const auto add = [&](const std::string& name, const torch::nn::Module& module) {
    const auto* layer = dynamic_cast<const nn::FeedForward*>(&module);
    if (layer == nullptr) return;
    for (const nn::UnitLayout::Parameter& parameter : layer->Units().parameters) {
      parameters[name.empty() ? parameter.name : name + "." + parameter.name] = {layer, name, parameter.dim};
    }
  };
  model.apply(add);
  return parameters;
}

}  // namespace

bool TakesWeightDecay(std::string_view parameter) {
  return parameter.find("bias") == std::string_view::npos && parameter.find("norm") == std::string_view::npos &&
         !parameter.ends_with(".b1s") && !parameter.ends_with(".b2s");
}

AdamW::AdamW(torch::nn::Module& model, const AdamWOptions& options) : options_(options) {
  const torch::NoGradGuard no_grad;
  PlaceParameters(model);
  const auto where = model.parameters().front().options().requires_grad(false);
  for (torch::Tensor* buffer : {&gradients_, &first_, &second_}) *buffer = torch::zeros_like(parameters_, where);
  PointAtBuffers(model, gradients_);
  if (options_.units.any()) PlaceUnits(model);
}

void AdamW::PlaceParameters(const torch::nn::Module& model) {
  const std::map<std::string, UnitParameter> units =
      options_.units.any() ? UnitParameters(model) : std::map<std::string, UnitParameter>();
  enum Part { kDecayed, kSpared, kUnits };
  int64_t total = 0;
  for (const Part part : {kDecayed, kSpared, kUnits}) {
    for (const auto& item : model.named_parameters()) {
      const Part own = units.contains(item.key()) ? kUnits : TakesWeightDecay(item.key()) ? kDecayed : kSpared;
      if (own != part) continue;
      slices_[item.key()] = {total, item.value().sizes().vec()};
      total += (item.value().numel() + kAlign - 1) / kAlign * kAlign;
    }
    if (part == kDecayed) decayed_ = total;
    if (part == kSpared) shared_ = total;
  }
  parameters_ = torch::zeros({total}, model.parameters().front().options().requires_grad(false));
  for (const auto& item : model.named_parameters()) {
    const Slice& slice = slices_.at(item.key());
    ViewOf(parameters_, slice.offset, slice.shape).copy_(item.value());
  }
}

void AdamW::PlaceUnits(torch::nn::Module& model) {
  units_.emplace(options_.units);
  std::map<const nn::FeedForward*, std::pair<std::string, std::vector<UnitUpdates::Part>>> layers;
  for (const auto& [name, unit] : UnitParameters(model)) {
    const Slice& slice = slices_.at(name);
    const auto view = [&](const torch::Tensor& buffer) { return ViewOf(buffer, slice.offset, slice.shape); };
    auto& [layer_name, parts] = layers[unit.layer];
    layer_name = unit.layer_name;
    parts.push_back(
        {view(parameters_), view(gradients_), view(first_), view(second_), unit.dim, TakesWeightDecay(name)});
  }
  for (auto& [layer, named] : layers) {
    units_->AddLayer(named.first, layer, static_cast<int64_t>(layer->Units().units()), std::move(named.second));
  }
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

torch::Tensor AdamW::Step(double rate, const std::vector<UnitUse>& use) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor norm = gradients_.norm();
  gradients_.mul_((options_.clip / (norm + 1e-6)).clamp_max(1.0));
  ++steps_;
  StepShared(rate);
  if (units_) {
    units_->Step({rate, options_.beta1, options_.beta2, options_.epsilon, options_.weight_decay, steps_}, use);
  }
  return norm;
}

void AdamW::StepShared(double rate) {
#if TORCH_VERSION_MAJOR >= 2
  if (parameters_.is_cuda()) return FusedStepShared(rate);
#endif
  const double correction1 = 1.0 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = 1.0 - std::pow(options_.beta2, static_cast<double>(steps_));
  const auto shared = [this](const torch::Tensor& buffer) { return buffer.narrow(0, 0, shared_); };
  const torch::Tensor gradients = shared(gradients_);
  torch::Tensor first = shared(first_), second = shared(second_), parameters = shared(parameters_);
  first.mul_(options_.beta1).add_(gradients, 1.0 - options_.beta1);
  second.mul_(options_.beta2).addcmul_(gradients, gradients, 1.0 - options_.beta2);
  const torch::Tensor denominator = second.sqrt().div_(std::sqrt(correction2)).add_(options_.epsilon);
  parameters.narrow(0, 0, decayed_).mul_(1.0 - rate * options_.weight_decay);
  parameters.addcdiv_(first, denominator, -rate / correction1);
}

#if TORCH_VERSION_MAJOR >= 2
// The same update in one pass over memory.
void AdamW::FusedStepShared(double rate) {
  const torch::Tensor step = torch::full({}, static_cast<float>(steps_), parameters_.options());
  const auto update = [&](int64_t offset, int64_t count, double weight_decay) {
    if (count == 0) return;
    const auto part = [&](const torch::Tensor& buffer) {
      return std::vector<torch::Tensor>{buffer.narrow(0, offset, count)};
    };
    at::_fused_adamw_(part(parameters_), part(gradients_), part(first_), part(second_), {}, {step}, rate,
                      options_.beta1, options_.beta2, weight_decay, options_.epsilon, /*amsgrad=*/false,
                      /*maximize=*/false);
  };
  update(0, decayed_, options_.weight_decay);
  update(decayed_, shared_ - decayed_, 0.0);
}
#endif

std::map<std::string, AdamW::Moments> AdamW::moments() const {
  std::map<std::string, Moments> moments;
  for (const auto& [name, slice] : slices_) {
    moments[name] = {ViewOf(first_, slice.offset, slice.shape), ViewOf(second_, slice.offset, slice.shape)};
  }
  return moments;
}

std::vector<torch::Tensor> AdamW::state() const {
  std::vector<torch::Tensor> tensors{parameters_, first_, second_};
  for (const auto& [name, tensor] : unit_state()) tensors.push_back(tensor);
  return tensors;
}

std::map<std::string, torch::Tensor> AdamW::unit_state() const {
  return units_ ? units_->state() : std::map<std::string, torch::Tensor>();
}

}  // namespace grove::train
