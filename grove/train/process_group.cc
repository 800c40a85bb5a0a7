// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/process_group.h"

// c10d's headers show a backend only to those who say that LibTorch was built with it; the build defines GROVE_GLOO and
// GROVE_NCCL where the headers that they need in turn are installed.
#if defined(GROVE_GLOO) && !defined(USE_C10D_GLOO)
#define USE_C10D_GLOO
#endif
#if defined(GROVE_NCCL) && !defined(USE_C10D_NCCL)
#define USE_C10D_NCCL
#endif
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#ifdef GROVE_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef GROVE_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#if TORCH_VERSION_MAJOR >= 2
#include <torch/csrc/distributed/c10d/Backend.hpp>
#else
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#endif

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <utility>

#include "grove/base/check.h"

namespace grove::train {
namespace {

#if TORCH_VERSION_MAJOR >= 2
using Group = c10d::Backend;
#else
using Group = c10d::ProcessGroup;
#endif
using GroupPointer = c10::intrusive_ptr<Group>;

// The watch decides who is lost, not a clock: another process may write a checkpoint for minutes.
[[maybe_unused]] constexpr std::chrono::milliseconds kPatience = std::chrono::hours(240);

Error NotBuilt(const char* library, const char* advice) {
  return Error(ErrorCode::kUnsupported,
               fmt::format("this grove-train was built without {}, so it cannot train with several processes here; {}",
                           library, advice));
}

#ifdef GROVE_GLOO
// The network interface: that of GLOO_SOCKET_IFNAME, loopback if the job is on one machine, else the host name's.
std::shared_ptr<::gloo::transport::Device> GlooDevice(const World& world) {
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  if (interface != nullptr && *interface != '\0') return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  if (world.local_size == world.size) return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  return c10d::ProcessGroupGloo::createDefaultDevice();
}

Result<GroupPointer> ConnectGloo(const World& world, const c10::intrusive_ptr<c10d::Store>& store) {
  const auto options = c10d::ProcessGroupGloo::Options::create(kPatience);
  options->devices.push_back(GlooDevice(world));
  options->threads = 2;
  return GroupPointer(c10::make_intrusive<c10d::ProcessGroupGloo>(store, world.rank, world.size, options));
}
#else
Result<GroupPointer> ConnectGloo(const World&, const c10::intrusive_ptr<c10d::Store>&) {
  return NotBuilt("Gloo",
                  "give --device cuda with one GPU per process, or build it where Gloo's headers are installed "
                  "(Debian: libgloo-dev)");
}
#endif

#ifdef GROVE_NCCL
Result<GroupPointer> ConnectNccl(const World& world, const c10::intrusive_ptr<c10d::Store>& store) {
  // Its own watchdog would abort the process with a stack trace; ours ends it with a sentence.
  setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", /*overwrite=*/0);
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = kPatience;
  return GroupPointer(c10::make_intrusive<c10d::ProcessGroupNCCL>(store, world.rank, world.size, std::move(options)));
}
#else
Result<GroupPointer> ConnectNccl(const World&, const c10::intrusive_ptr<c10d::Store>&) {
  return NotBuilt("NCCL", "give --device cpu, or build it with -DGROVE_CUDA=ON where nccl.h is installed");
}
#endif

}  // namespace

struct ProcessGroup::Backend {
  GroupPointer group;
  std::vector<c10::intrusive_ptr<c10d::Work>> pending;
};

Result<std::unique_ptr<ProcessGroup>> ProcessGroup::Join(const World& world, LostHandler on_lost) {
  GROVE_ASSIGN_OR_RETURN(auto meeting, MeetingPoint::Join(world, std::move(on_lost)));
  return std::unique_ptr<ProcessGroup>(new ProcessGroup(std::move(meeting)));
}

bool ProcessGroup::Supports(const torch::Device& device) {
#ifdef GROVE_GLOO
  constexpr bool kGloo = true;
#else
  constexpr bool kGloo = false;
#endif
#ifdef GROVE_NCCL
  constexpr bool kNccl = true;
#else
  constexpr bool kNccl = false;
#endif
  return device.is_cuda() ? kNccl : kGloo;
}

ProcessGroup::ProcessGroup(std::unique_ptr<MeetingPoint> meeting) : meeting_(std::move(meeting)) {}
ProcessGroup::~ProcessGroup() = default;

Status ProcessGroup::Connect(const torch::Device& device) {
  const World& world = meeting_->world();
  try {
    const auto store = c10::make_intrusive<c10d::PrefixStore>("group", meeting_->store());
    GROVE_ASSIGN_OR_RETURN(GroupPointer group,
                           device.is_cuda() ? ConnectNccl(world, store) : ConnectGloo(world, store));
    backend_ = std::make_unique<Backend>();
    backend_->group = std::move(group);
    Sum(torch::ones({1}, device));  // NCCL connects at the first sum: rather here than in the first step
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return Error(ErrorCode::kIo, fmt::format("rank {} cannot connect to the other processes ({})", world.rank,
                                             text.substr(0, text.find('\n'))));
  }
  return Ok{};
}

void ProcessGroup::StartSum(const torch::Tensor& tensor) {
  GROVE_CHECK(backend_ != nullptr && tensor.is_contiguous());
  std::vector<torch::Tensor> tensors{tensor};
  backend_->pending.push_back(backend_->group->allreduce(tensors));
}

void ProcessGroup::FinishSums() {
  // On a GPU the host goes on at once and the device waits.
  for (const auto& work : std::exchange(backend_->pending, {})) work->wait();
}

void ProcessGroup::Sum(const torch::Tensor& tensor) {
  StartSum(tensor);
  FinishSums();
}

void ProcessGroup::Broadcast(const torch::Tensor& tensor) {
  std::vector<torch::Tensor> tensors{tensor};
  backend_->group->broadcast(tensors)->wait();
}

}  // namespace grove::train
