// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Masked-LM batches and the thread that prepares them ahead of the training loop.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "grove/nn/torch_compat.h"

namespace grove::train {

struct BatchCounts {
  int64_t sequences = 0;
  int64_t words = 0;   // to predict
  int64_t tokens = 0;  // padding not counted
};

// All tensors int64. On the way to a GPU they are in pinned memory, so that copies overlap with computing.
struct Batch {
  torch::Tensor ids;             // [sequences, length], masked
  torch::Tensor positions;       // [masked]: indices into the flattened ids, ascending
  torch::Tensor labels;          // [masked]: the words hidden there
  torch::Tensor attention_mask;  // [sequences, length], 0 where padding is; undefined if there is none
  int64_t tokens = 0;            // padding not counted
  // Of the whole batch, where this is the share of one of several processes.
  BatchCounts whole = {};

  Batch To(const torch::Device& device) const;
};

// The sequences of all batches in order, as one batch; at least one, all of one length.
Batch Concatenate(const std::vector<Batch>& batches);

// Batch number 0, 1, 2, ... of `make(number)`, from `first` on; up to `depth` are ready before they are asked for.
// `make` is called on one other thread and must be a function of its argument alone: what a run reads does not depend
// on how far ahead the thread is.
class BatchStream {
 public:
  BatchStream(std::function<Batch(int64_t number)> make, int64_t first, size_t depth);
  ~BatchStream();
  BatchStream(const BatchStream&) = delete;
  BatchStream& operator=(const BatchStream&) = delete;

  Batch Next();

 private:
  void Produce(int64_t number);

  const std::function<Batch(int64_t)> make_;
  const size_t depth_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  bool stop_ = false;
  std::thread thread_;  // last: it starts when everything above is there
};

}  // namespace grove::train
