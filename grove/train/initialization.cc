// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/initialization.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "grove/base/check.h"

namespace grove::train {
namespace {

constexpr double kNoise = 0.1;  // of `alike`, relative to the spread of the first unit's weights

// Ends of the names of matrices that write into the residual stream.
constexpr std::array<std::string_view, 7> kOutputs = {
    ".attn.dense.weight",    ".dense_out.weight", ".linear_out.weight", ".linear_out_left.weight", ".w2s",
    ".always_on_out.weight", ".neurons_out"};

bool WritesToTheResidual(std::string_view name) {
  return std::any_of(kOutputs.begin(), kOutputs.end(), [&](std::string_view end) { return name.ends_with(end); });
}

void ScaleOutputs(nn::TextModel& model) {
  const double factor = 1.0 / std::sqrt(2.0 * static_cast<double>(model.FeedForwards().size()));
  for (auto& item : model.named_parameters()) {
    if (WritesToTheResidual(item.key())) item.value().mul_(factor);
  }
}

// False: no leaf tree.
bool MakePublished(nn::FeedForward& layer) {
  auto parameters = layer.named_parameters();
  if (parameters.find("w1s") == nullptr || parameters.find("node_weights") == nullptr) return false;
  const torch::Tensor w1s = parameters["w1s"];  // [leaves, width, leaf_width]
  const double in = 1.0 / std::sqrt(static_cast<double>(w1s.size(1)));
  const double out = 1.0 / std::sqrt(static_cast<double>(w1s.size(2)));
  for (const char* name : {"node_weights", "node_biases", "w1s", "b1s"}) parameters[name].uniform_(-in, in);
  for (const char* name : {"w2s", "b2s"}) parameters[name].uniform_(-out, out);
  return true;
}

// False: no units that are nets side by side: none at all, single neurons (a copied neuron would stay a copy but for
// its noise), or several levels, where each has a part of its own.
bool MakeAlike(const nn::FeedForward& layer) {
  const nn::UnitLayout layout = layer.Units();
  const auto& level = layout.unit_level;
  if (level.size() < 2 || std::adjacent_find(level.begin(), level.end(), std::not_equal_to<>()) != level.end()) {
    return false;
  }
  const bool nets = std::any_of(layout.parameters.begin(), layout.parameters.end(),
                                [](const nn::UnitLayout::Parameter& parameter) { return parameter.tensor.dim() > 2; });
  if (!nets) return false;
  for (const nn::UnitLayout::Parameter& parameter : layout.parameters) {
    torch::Tensor tensor = parameter.tensor;
    const int64_t rows = tensor.size(parameter.dim) / static_cast<int64_t>(layout.units());
    const torch::Tensor first = tensor.narrow(parameter.dim, 0, rows).clone();
    std::vector<int64_t> repeats(static_cast<size_t>(tensor.dim()), 1);
    repeats[static_cast<size_t>(parameter.dim)] = static_cast<int64_t>(layout.units());
    const torch::Tensor spread = first.square().mean().sqrt();
    tensor.copy_(first.repeat(repeats) + torch::randn(tensor.sizes()) * (spread * kNoise));
  }
  return true;
}

}  // namespace

Status Initialize(nn::TextModel& model, const std::string& scheme) {
  const torch::NoGradGuard no_grad;
  if (scheme == "recipe") return Ok{};
  if (scheme == "scaled") {
    ScaleOutputs(model);
    return Ok{};
  }
  GROVE_CHECK(scheme == "published" || scheme == "alike");
  int changed = 0;
  for (const auto& layer : model.FeedForwards()) {
    if (layer) changed += scheme == "published" ? MakePublished(*layer) : MakeAlike(*layer);
  }
  if (changed > 0) return Ok{};
  return Error(
      ErrorCode::kInvalidArgument,
      scheme == "published"
          ? "--init published is for leaf trees; other kinds start as published already, with --init recipe"
          : "--init alike is for layers of several leaves or experts; choose another --init or --feed-forward");
}

}  // namespace grove::train
