// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "grove/base/result.h"
#include "grove/nn/torch_compat.h"
#include "grove/train/world.h"

namespace grove::train {

// Where a run computes, and how exactly.
struct Compute {
  torch::Device device = torch::kCPU;
  bool bf16 = false;
  size_t replicas = 1;  // threads that each run a share of a batch (replicas.h)
  int rank = 0, processes = 1;
  // The most that a GPU multiplies in a second in that number format, as its maker says; 0: not known.
  double peak_flops = 0;
  std::string name;  // for logs and cards: "CPU, 2 threads", "NVIDIA H100 80GB HBM3, bf16"
};

// `device` is auto, cpu or cuda. Takes LibTorch's own threads away and allows TF32. Each of the processes on a machine
// gets a GPU of its own. An error if there is none.
Result<Compute> ChooseCompute(const std::string& device, size_t threads, bool bf16, const World& world = {});

// The most memory that was in use so far: of the GPU's tensors, or of the process.
uint64_t PeakMemoryBytes(const Compute& compute);

}  // namespace grove::train
