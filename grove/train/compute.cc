// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/compute.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <system_error>

namespace grove::train {
namespace {

// "NVIDIA H100 80GB HBM3", as the driver names the first GPU.
std::string GpuName() {
  std::error_code error;
  for (const auto& gpu : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", error)) {
    std::ifstream file(gpu.path() / "information");
    std::string line;
    while (std::getline(file, line)) {
      if (!line.starts_with("Model:")) continue;
      const size_t begin = line.find_first_not_of(" \t", 6);
      if (begin != std::string::npos) return line.substr(begin);
    }
  }
  return "GPU";
}

// Every operation on the thread that calls it: a run's parallelism is its replicas. Debian's LibTorch multiplies with
// OpenBLAS, whose threads at::set_num_threads does not govern.
void UseOneThreadPerOperation() {
  at::set_num_threads(1);
  using SetNumThreads = void (*)(int);
  const auto set = reinterpret_cast<SetNumThreads>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (set != nullptr) set(1);
}

}  // namespace

Result<Compute> ChooseCompute(const std::string& device, size_t threads, bool bf16) {
  UseOneThreadPerOperation();
  const bool have_gpu = torch::cuda::is_available();
  if (device == "cuda" && !have_gpu) {
    return Error(ErrorCode::kUnsupported, "--device is cuda but LibTorch finds no GPU here; give --device cpu");
  }
  if (device == "cpu" || !have_gpu) {
    return Compute{torch::kCPU, false, threads, fmt::format("CPU, {} thread{}", threads, threads == 1 ? "" : "s")};
  }
  at::globalContext().setFloat32MatmulPrecision("high");  // TF32
  return Compute{torch::kCUDA, bf16, 1, GpuName() + (bf16 ? ", bf16" : ", TF32")};
}

}  // namespace grove::train
