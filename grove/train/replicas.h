// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Data parallelism on a CPU: every thread runs its share of a batch through its own copy of the objective
// (replica_group.h).
//
// Why not LibTorch's own threads: they split each small product and wait, spinning, at its end. On 2 busy cores a model
// of width 128 trained at 1,500 tokens/s that way and at 11,500 with one thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "grove/train/adamw.h"
#include "grove/train/batches.h"
#include "grove/train/objective.h"
#include "grove/train/replica_group.h"

namespace grove::train {

class Replicas {
 public:
  // `main` is replica 0, whose parameters and gradients `optimizer` owns; `make` builds the others. One replica (a GPU,
  // or one thread) computes on the calling thread.
  Replicas(std::shared_ptr<Objective> main, AdamW& optimizer, size_t count,
           const std::function<std::shared_ptr<Objective>()>& make);

  struct Options {
    bool bf16 = false;  // autocast
    // What the means are over: the words and sequences of the whole batch of which this is a part. 0: of this part.
    int64_t words = 0, sequences = 0;
    double budget_fraction = 0.0;  // used so far: FeedForward::SetBudgetFraction
  };
  struct Loss {
    torch::Tensor value;  // this part's contribution to ObjectiveLoss::per_word, a scalar on the device
    torch::Tensor terms;  // and to the objective's terms; undefined if it has none
  };
  // Adds this part's contribution to the gradients of the whole batch's mean loss to the optimizer's. Contributions add
  // up exactly, whatever the number of words that each part has; only what an objective computes from the statistics of
  // a forward pass (a balance loss) is computed per part.
  Loss ForwardBackward(const Batch& batch, const Options& options);

  // Mean validation loss over the words of all batches, a scalar on the device; no gradients.
  torch::Tensor Evaluate(const std::vector<Batch>& batches, bool bf16);

  // Of every replica's model, for a RoutingMonitor.
  std::vector<std::vector<std::shared_ptr<nn::FeedForward>>> FeedForwards() const;

 private:
  ReplicaGroup<Objective> group_;
};

// Consecutive sequences of the batch; `parts` at most, none empty. CPU tensors only unless parts is 1.
std::vector<Batch> SplitBatch(const Batch& batch, size_t parts);

}  // namespace grove::train
