// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Copies of a model for threads that train side by side: they share parameters and buffers and have their own
// gradients, which are added in a fixed order, so that a result depends on the number of threads only by rounding, and
// not at all on timing. What a copy computes is the caller's (replicas.h: objectives on masked words; finetune_run.h:
// tasks).
//
//   ReplicaGroup<nn::TextModel> group(model, optimizer, threads, make);
//   group.ForEach([&](size_t i) { if (i < shares.size()) Loss(group[i], shares[i]).backward(); });
//   group.GatherGradients();
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "grove/base/thread_pool.h"
#include "grove/nn/parameters.h"
#include "grove/nn/torch_compat.h"
#include "grove/train/adamw.h"

namespace grove::train {

// Model: a torch::nn::Module, or something whose trained() is one.
template <class Model>
class ReplicaGroup {
 public:
  // `main` is replica 0, whose parameters and gradients `optimizer` owns; `make` builds the others. A group of one
  // computes on the calling thread.
  ReplicaGroup(std::shared_ptr<Model> main, AdamW& optimizer, size_t count,
               const std::function<std::shared_ptr<Model>()>& make)
      : models_{std::move(main)}, main_gradients_(optimizer.gradients()), pool_(count) {
    while (models_.size() < count) {
      models_.push_back(make());
      gradients_.push_back(optimizer.Share(ModuleOf(*models_.back())));
      const auto own = nn::StoredBuffers(ModuleOf(*models_.back())), shared = nn::StoredBuffers(ModuleOf(*models_[0]));
      for (size_t i = 0; i < own.size(); ++i) own[i].second.set_data(shared[i].second);
    }
  }

  size_t size() const { return models_.size(); }
  Model& operator[](size_t replica) const { return *models_[replica]; }
  torch::Device device() const { return main_gradients_.device(); }
  static torch::nn::Module& ModuleOf(Model& model) {
    if constexpr (std::is_base_of_v<torch::nn::Module, Model>) {
      return model;
    } else {
      return model.trained();
    }
  }

  // body(replica), all at once; an exception of any is thrown again here.
  void ForEach(const std::function<void(size_t replica)>& body) {
    std::vector<std::exception_ptr> errors(models_.size());
    pool_.ParallelFor(models_.size(), 1, [&](size_t begin, size_t end) {
      for (size_t replica = begin; replica < end; ++replica) {
        try {
          body(replica);
        } catch (...) {
          errors[replica] = std::current_exception();
        }
      }
    });
    for (const std::exception_ptr& error : errors) {
      if (error) std::rethrow_exception(error);
    }
  }

  // Adds the replicas' gradients to the optimizer's and begins them anew.
  void GatherGradients() {
    for (torch::Tensor& gradient : gradients_) {
      main_gradients_.add_(gradient);
      gradient.zero_();
    }
  }

  void SetTraining(bool training) {
    for (const auto& model : models_) ModuleOf(*model).train(training);
  }

 private:
  std::vector<std::shared_ptr<Model>> models_;
  std::vector<torch::Tensor> gradients_;  // flat, of replicas 1, 2, ...
  torch::Tensor main_gradients_;
  ThreadPool pool_;
};

}  // namespace grove::train
