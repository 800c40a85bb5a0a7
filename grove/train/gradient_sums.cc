// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/gradient_sums.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

namespace grove::train {
namespace {

// Called by autograd when a parameter's gradient has been added to.
class AfterGradient final : public torch::autograd::FunctionPostHook {
 public:
  explicit AfterGradient(std::function<void()> call) : call_(std::move(call)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    call_();
    return outputs;
  }

 private:
  std::function<void()> call_;
};

}  // namespace

GradientSums::GradientSums(ProcessGroup& group, const torch::nn::Module& model, const AdamW& optimizer,
                           int64_t bucket_elements)
    : group_(group) {
  // Parameters by their place in a part of the buffer, the last first. Those without weight decay, the embedding's norm
  // among them, which backward reaches last, go after all others.
  std::map<int64_t, std::string, std::greater<>> names;
  for (const auto& [name, slice] : optimizer.slices()) names[slice.offset] = name;
  std::map<std::string, size_t> bucket_of;
  const auto fill = [&](int64_t begin, int64_t end) {
    Bucket bucket;
    for (const auto& [offset, name] : names) {
      if (offset < begin || offset >= end) continue;
      ++bucket.parameters;
      bucket_of[name] = buckets_.size();
      if (end - offset < bucket_elements && offset > begin) continue;
      bucket.gradients = optimizer.gradients().narrow(0, offset, end - offset);
      buckets_.push_back(std::exchange(bucket, {}));
      end = offset;
    }
  };
  const std::vector<int64_t> ends = optimizer.part_ends();
  fill(ends[1], ends[2]);
  fill(0, ends[0]);
  fill(ends[0], ends[1]);
  for (const auto& item : model.named_parameters()) {
    const size_t number = bucket_of.at(item.key());
    const auto accumulator = torch::autograd::impl::grad_accumulator(item.value());
    const uintptr_t hook =
        accumulator->add_post_hook(std::make_unique<AfterGradient>([this, number] { Ready(number); }));
    hooks_.emplace_back(accumulator, hook);
  }
}

// The hooks would call an object that is gone.
GradientSums::~GradientSums() {
  for (const auto& [accumulator, hook] : hooks_) accumulator->del_post_hook(hook);
}

void GradientSums::Expect() {
  expecting_ = true;
  for (Bucket& bucket : buckets_) bucket.missing = bucket.parameters;
}

void GradientSums::Ready(size_t number) {
  if (!expecting_) return;
  --buckets_[number].missing;
  while (next_ < buckets_.size() && buckets_[next_].missing == 0) Send();
}

void GradientSums::Send() { group_.StartSum(buckets_[next_++].gradients); }

void GradientSums::Finish() {
  expecting_ = false;
  sent_early_ = next_;
  while (next_ < buckets_.size()) Send();  // a parameter that took no part has no gradient to wait for
  next_ = 0;
  group_.FinishSums();
}

}  // namespace grove::train
