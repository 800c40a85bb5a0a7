// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/unit_updates.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "grove/base/check.h"

namespace grove::train {
namespace {

constexpr double kLeastRate = 0.01, kMostRate = 100;

// [.., units x rows, ..] -> [.., units, rows, ..].
torch::Tensor ByUnit(const torch::Tensor& t, int64_t dim, int64_t units) {
  std::vector<int64_t> shape = t.sizes().vec();
  const auto at = shape.begin() + dim;
  GROVE_CHECK(*at % units == 0);
  const int64_t rows = *at / units;
  *at = units;
  shape.insert(at + 1, rows);
  return t.view(shape);
}

}  // namespace

Status CheckAncestors(const torch::nn::Module& model, const UnitOptions& options) {
  if (options.ancestors == 0) return Ok{};
  bool found = false, other = false;
  model.apply([&](const std::string&, const torch::nn::Module& module) {
    const auto* layer = dynamic_cast<const nn::FeedForward*>(&module);
    if (layer == nullptr || layer->Units().units() < 2) return;
    (SubtreeSizes(layer->Units(), options.ancestors).empty() ? other : found) = true;
  });
  if (found && !other) return Ok{};
  return Error(
      ErrorCode::kInvalidArgument,
      "--ancestor-steps is for leaf trees and mixtures of experts; leave it at 0 for other feedforward layers");
}

void UnitUpdates::AddLayer(const std::string& name, const nn::FeedForward* layer, int64_t units,
                           std::vector<Part> parts) {
  GROVE_CHECK(units > 0 && !parts.empty());
  const std::vector<int64_t> sizes = SubtreeSizes(layer->Units(), options_.ancestors);
  const auto where = parts.front().parameter.options().requires_grad(false);
  for (Part& part : parts) {
    for (torch::Tensor* t : {&part.parameter, &part.gradient, &part.first, &part.second})
      *t = ByUnit(*t, part.dim, units);
    if (!sizes.empty()) part.ancestors.emplace(part.parameter, sizes);
  }
  layers_.push_back({name, layer, torch::zeros({units}, where), torch::zeros({units}, where), std::move(parts)});
}

void UnitUpdates::Step(const Hyper& hyper, const std::vector<UnitUse>& use) {
  const torch::NoGradGuard no_grad;
  for (Layer& layer : layers_) {
    const auto found = std::find_if(use.begin(), use.end(), [&](const UnitUse& u) { return u.layer == layer.layer; });
    StepLayer(layer, hyper, found == use.end() ? nullptr : &*found);
  }
}

void UnitUpdates::StepLayer(Layer& layer, const Hyper& hyper, const UnitUse* use) {
  const torch::Tensor ones = torch::ones_like(layer.share);
  const torch::Tensor share = use == nullptr ? ones : use->visits / use->tokens.clamp_min(1.0);
  const torch::Tensor visited = use == nullptr || !options_.lazy ? ones : (use->visits > 0).to(ones.scalar_type());
  layer.share.mul_(hyper.beta2).add_(share, 1.0 - hyper.beta2);
  layer.visited.add_(visited);

  torch::Tensor gain = visited;  // of the rate
  if (options_.rate_power != 0) {
    const double correction = 1.0 - std::pow(hyper.beta2, static_cast<double>(hyper.step));
    gain = gain * (layer.share / correction).pow(options_.rate_power).clamp(kLeastRate, kMostRate);
  }
  // The step of the bias correction: own visits, or everybody's; at least 1, for units that never had one.
  const torch::Tensor count = options_.lazy ? layer.visited.clamp_min(1.0) : ones * static_cast<double>(hyper.step);
  const auto correction = [&](double beta) { return 1.0 - torch::pow(torch::full_like(count, beta), count); };
  const torch::Tensor mean_weight = visited * (1.0 - hyper.beta1), square_weight = visited * (1.0 - hyper.beta2);
  const torch::Tensor root = correction(hyper.beta2).rsqrt();
  const torch::Tensor scale = gain * -hyper.rate / correction(hyper.beta1);
  const torch::Tensor kept = 1.0 - gain * (hyper.rate * hyper.weight_decay);

  for (Part& part : layer.parts) {
    std::vector<int64_t> shape(static_cast<size_t>(part.parameter.dim()), 1);
    shape[static_cast<size_t>(part.dim)] = -1;
    const auto over_unit = [&](const torch::Tensor& t) { return t.view(shape); };
    torch::Tensor first = part.first, second = part.second, parameter = part.parameter;
    first.lerp_(part.gradient, over_unit(mean_weight));
    second.lerp_(part.gradient.square(), over_unit(square_weight));
    const torch::Tensor denominator = second.sqrt().mul_(over_unit(root)).add_(hyper.epsilon);
    if (part.decay) parameter.mul_(over_unit(kept));
    parameter.addcmul_(first / denominator, over_unit(scale), part.ancestors ? part.ancestors->share() : 1.0);
    if (part.ancestors) part.ancestors->Step(hyper, part.gradient, parameter);
  }
}

std::map<std::string, torch::Tensor> UnitUpdates::state() const {
  std::map<std::string, torch::Tensor> state;
  for (const Layer& layer : layers_) {
    state["units." + layer.name + ".share"] = layer.share;
    state["units." + layer.name + ".visited"] = layer.visited;
    for (size_t i = 0; i < layer.parts.size(); ++i) {
      if (!layer.parts[i].ancestors) continue;
      const std::vector<torch::Tensor> moments = layer.parts[i].ancestors->state();
      for (size_t j = 0; j < moments.size(); ++j) {
        state["units." + layer.name + ".ancestors." + std::to_string(i) + "." + std::to_string(j)] = moments[j];
      }
    }
  }
  return state;
}

}  // namespace grove::train
