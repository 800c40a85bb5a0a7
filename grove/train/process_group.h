// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Several processes that train one model: sums and broadcasts of tensors through c10d, NCCL for tensors on a GPU and
// Gloo on a CPU. This header and its source are the only place that knows c10d's process groups and how they differ
// between LibTorch 1.13 and 2.x; a build without the library says so at run time.
//
//   GROVE_ASSIGN_OR_RETURN(auto group, ProcessGroup::Join(world, on_lost));
//   GROVE_RETURN_IF_ERROR(group->Connect(torch::kCPU));
//   group->StartSum(gradients.narrow(0, 0, 1000));   // in place, while the rest is still being computed
//   group->StartSum(gradients.narrow(0, 1000, 1000));
//   group->FinishSums();
//
// Every rank makes the same calls with tensors of the same shapes in the same order. A call that fails because another
// process is gone throws; MeetingPoint::Explain turns that into a sentence.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/nn/torch_compat.h"
#include "grove/train/meeting_point.h"

namespace grove::train {

class ProcessGroup {
 public:
  // Whether this build has the library for such tensors.
  static bool Supports(const torch::Device& device);
  // Waits for all processes of the job. The program ignores SIGPIPE: writing to one that has died is an error to be
  // reported, not an end.
  static Result<std::unique_ptr<ProcessGroup>> Join(const World& world, LostHandler on_lost);
  ~ProcessGroup();

  // Before the first sum: the device of this process's tensors.
  Status Connect(const torch::Device& device);

  int rank() const { return meeting_->world().rank; }
  int size() const { return meeting_->world().size; }
  MeetingPoint& meeting() { return *meeting_; }

  // Adds the tensors of all ranks up in place; `tensor` is contiguous and must not be touched until FinishSums().
  void StartSum(const torch::Tensor& tensor);
  void FinishSums();
  void Sum(const torch::Tensor& tensor);
  // Rank 0's values on all ranks.
  void Broadcast(const torch::Tensor& tensor);

 private:
  struct Backend;
  explicit ProcessGroup(std::unique_ptr<MeetingPoint> meeting);
  std::unique_ptr<MeetingPoint> meeting_;  // outlives the backend, which uses its store
  std::unique_ptr<Backend> backend_;
};

}  // namespace grove::train
