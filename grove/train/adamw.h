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
#include <string>
#include <string_view>
#include <vector>

#include "grove/nn/torch_compat.h"

namespace grove::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-12, weight_decay = 0.01;
  double clip = 0.5;  // largest Euclidean norm of the whole gradient
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

  void ZeroGradients();
  // Clips, then updates. Returns the gradient's norm before clipping, a scalar on the device.
  torch::Tensor Step(double rate);

  // Views by parameter name, for checkpoints. `steps` enters the bias correction.
  struct Moments {
    torch::Tensor first, second;
  };
  std::map<std::string, Moments> moments() const;
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  void PointAtBuffers(torch::nn::Module& model, const torch::Tensor& gradients) const;

  AdamWOptions options_;
  int64_t steps_ = 0;
  int64_t decayed_ = 0;  // the first elements of the buffers are those with weight decay
  torch::Tensor parameters_, gradients_, first_, second_;  // [all elements]
  struct Slice {
    int64_t offset;
    std::vector<int64_t> shape;
  };
  std::map<std::string, Slice> slices_;
};

}  // namespace grove::train
