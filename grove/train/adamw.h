// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// AdamW (arXiv 1711.05101) over one flat buffer: all parameters of a model become views of it, and so do their
// gradients, so that a step is a dozen operations whatever the number of tensors (a small model on a GPU would spend
// most of its time launching kernels otherwise) and nothing waits for the device.
//
//   AdamW optimizer(*model, {.clip = 0.5});
//   loss.backward();
//   optimizer.Step(rate);
//   optimizer.ZeroGradients();
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grove/nn/torch_compat.h"
#include "grove/train/unit_updates.h"

namespace grove::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-12, weight_decay = 0.01;
  double clip = 0.5;       // largest Euclidean norm of the whole gradient
  UnitOptions units = {};  // remedies for seldom visited units of conditional layers; off
};

// Weight decay spares biases and norms, by name as in the reference: every name that contains "bias" or "norm"
// (leaf trees' node_biases too), and the leaves' b1s and b2s.
bool TakesWeightDecay(std::string_view parameter);

class AdamW {
 public:
  // Moves the parameters (fp32, on one device) into the buffer.
  AdamW(torch::nn::Module& model, const AdamWOptions& options);

  // Makes the parameters of a second model of the same kind views of this buffer, with gradients of their own, which
  // are returned: [all elements], zeros, in the order of gradients().
  torch::Tensor Share(torch::nn::Module& replica) const;
  const torch::Tensor& gradients() const { return gradients_; }

  // Where a parameter lies in the buffers.
  struct Slice {
    int64_t offset;
    std::vector<int64_t> shape;
  };
  const std::map<std::string, Slice>& slices() const { return slices_; }
  // The ends of the buffers' parts: with weight decay, without, and of units that are updated apart (may be empty).
  std::vector<int64_t> part_ends() const { return {decayed_, shared_, parameters_.numel()}; }
  // Everything that a step changes: parameters, moments, and the state of per-unit updates. Shares memory.
  std::vector<torch::Tensor> state() const;

  void ZeroGradients();
  // Clips, then updates. Returns the gradient's norm before clipping, a scalar on the device. `use` is what the step's
  // tokens used (RoutingMonitor::use()); it is read only with one of AdamWOptions::units.
  torch::Tensor Step(double rate, const std::vector<UnitUse>& use = {});

  // Views by parameter name, for checkpoints. `steps` enters the bias correction.
  struct Moments {
    torch::Tensor first, second;
  };
  std::map<std::string, Moments> moments() const;
  // What else a checkpoint keeps, by name; shares memory. Empty without AdamWOptions::units.
  std::map<std::string, torch::Tensor> unit_state() const;
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  void PlaceParameters(const torch::nn::Module& model);
  void PlaceUnits(torch::nn::Module& model);
  void PointAtBuffers(torch::nn::Module& model, const torch::Tensor& gradients) const;
  void StepShared(double rate);
  void FusedStepShared(double rate);  // on a GPU

  AdamWOptions options_;
  int64_t steps_ = 0;
  // The buffers hold what every token uses, first what decays, and then the units' parameters, if units_ updates them.
  int64_t decayed_ = 0, shared_ = 0;                       // ends of the first two parts
  torch::Tensor parameters_, gradients_, first_, second_;  // [all elements]
  std::map<std::string, Slice> slices_;
  std::optional<UnitUpdates> units_;
};

}  // namespace grove::train
