// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Gradients of one model added up over the processes of a job. The optimizer's flat gradient buffer is cut into buckets
// of whole parameters; a bucket is on its way to the others as soon as backward has finished its last parameter, while
// the rest is still being computed. Backward reaches the last layers first, so buckets go from the last layers' to the
// first's, in the same order on every rank.
//
//   sums.Expect();              // before the last backward of a step
//   loss.backward();
//   sums.Finish();              // sends what is left, waits: the optimizer has the sum of all ranks' gradients
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "grove/train/adamw.h"
#include "grove/train/process_group.h"

namespace grove::train {

class GradientSums {
 public:
  static constexpr int64_t kBucketElements = int64_t{6} << 20;  // 24 MiB of fp32

  // `model` has the parameters that `optimizer` owns. All three outlive this object.
  GradientSums(ProcessGroup& group, const torch::nn::Module& model, const AdamW& optimizer,
               int64_t bucket_elements = kBucketElements);
  ~GradientSums();

  // The next backward is the last one before Finish(): its finished buckets may go. Without it they go at Finish().
  void Expect();
  void Finish();

  size_t buckets() const { return buckets_.size(); }
  size_t sent_early() const { return sent_early_; }  // by the latest Finish(): how many buckets backward overlapped

 private:
  struct Bucket {
    torch::Tensor gradients;  // a slice of the buffer
    int64_t parameters = 0;
    int64_t missing = 0;  // parameters whose gradient is not final yet
  };
  void Ready(size_t bucket);
  void Send();

  ProcessGroup& group_;
  std::vector<Bucket> buckets_;  // in the order of sending
  // Autograd's nodes that add to the parameters' gradients: they live as long as somebody holds them.
  std::vector<std::pair<std::shared_ptr<torch::autograd::Node>, uintptr_t>> hooks_;
  bool expecting_ = false;
  size_t next_ = 0;  // bucket to be sent
  size_t sent_early_ = 0;
};

}  // namespace grove::train
