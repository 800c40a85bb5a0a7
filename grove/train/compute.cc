// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/compute.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#if TORCH_VERSION_MAJOR >= 2
#include <c10/core/CachingDeviceAllocator.h>
#endif

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

// Dense bf16 products, NVIDIA's data sheets; TF32 has half of it.
double PeakFlops(const std::string& gpu, bool bf16) {
  struct Peak {
    const char* part_of_name;
    double flops;
  };
  constexpr Peak kPeaks[] = {{"H100 PCIe", 756e12}, {"H100 NVL", 835e12}, {"H100", 989e12}, {"H200", 989e12},
                             {"A100", 312e12},      {"L40S", 362e12},     {"L4", 121e12}};
  for (const Peak& peak : kPeaks) {
    if (gpu.find(peak.part_of_name) != std::string::npos) return bf16 ? peak.flops : peak.flops / 2;
  }
  return 0;
}

// Every operation on the thread that calls it: a run's parallelism is its replicas. Debian's LibTorch multiplies with
// OpenBLAS, whose threads at::set_num_threads does not govern.
void UseOneThreadPerOperation() {
  at::set_num_threads(1);
  using SetNumThreads = void (*)(int);
  const auto set = reinterpret_cast<SetNumThreads>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (set != nullptr) set(1);
}

// Each process of a machine takes the GPU of its local rank, unless its launcher shows it no other than its own.
Result<torch::Device> GpuOf(const World& world) {
  const int count = static_cast<int>(torch::cuda::device_count());
  if (!world.launched || (count == 1 && std::getenv("CUDA_VISIBLE_DEVICES") != nullptr)) {
    return torch::Device(torch::kCUDA, 0);
  }
  if (world.local_rank < count) return torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(world.local_rank));
  return Error(ErrorCode::kUnsupported,
               fmt::format("the process of local rank {} finds {} GPU{} on its machine; start at "
                           "most one process per GPU, or give --device cpu",
                           world.local_rank, count, count == 1 ? "" : "s"));
}

std::string InProcesses(const World& world) {
  return world.launched ? fmt::format(", {} process{}", world.size, world.size == 1 ? "" : "es") : "";
}

}  // namespace

Result<Compute> ChooseCompute(const std::string& device, size_t threads, bool bf16, const World& world) {
  UseOneThreadPerOperation();
  const bool have_gpu = torch::cuda::is_available();
  if (device == "cuda" && !have_gpu) {
    return Error(ErrorCode::kUnsupported, "--device is cuda but LibTorch finds no GPU here; give --device cpu");
  }
  Compute compute{.replicas = threads, .rank = world.rank, .processes = world.size, .name = ""};
  if (device == "cpu" || !have_gpu) {
    compute.name = fmt::format("CPU, {} thread{}", threads, threads == 1 ? "" : "s") + InProcesses(world);
    return compute;
  }
  GROVE_ASSIGN_OR_RETURN(compute.device, GpuOf(world));
  c10::impl::getDeviceGuardImpl(torch::kCUDA)->setDevice(compute.device);
  at::globalContext().setFloat32MatmulPrecision("high");  // TF32
  compute.bf16 = bf16;
  compute.replicas = 1;
  const std::string gpu = GpuName();
  compute.peak_flops = PeakFlops(gpu, bf16) * world.size;
  compute.name = gpu + (bf16 ? ", bf16" : ", TF32") + InProcesses(world);
  return compute;
}

uint64_t PeakMemoryBytes([[maybe_unused]] const Compute& compute) {
#if TORCH_VERSION_MAJOR >= 2
  if (compute.device.is_cuda()) {
    const auto stats = at::getDeviceAllocator(compute.device.type())->getDeviceStats(compute.device.index());
    return static_cast<uint64_t>(stats.allocated_bytes[0].peak);
  }
#endif
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace grove::train
