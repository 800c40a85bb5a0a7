// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/batches.h"

#include <utility>

namespace grove::train {

Batch Batch::To(const torch::Device& device) const {
  const auto move = [&](const torch::Tensor& t) { return t.to(device, torch::kLong, /*non_blocking=*/true); };
  return {move(ids),    move(positions),
          move(labels), attention_mask.defined() ? move(attention_mask) : torch::Tensor(),
          tokens,       whole};
}

Batch Concatenate(const std::vector<Batch>& batches) {
  if (batches.size() == 1) return batches.front();
  Batch all;
  std::vector<torch::Tensor> ids, positions, labels, masks;
  int64_t offset = 0;
  bool masked = false;
  for (const Batch& batch : batches) masked = masked || batch.attention_mask.defined();
  for (const Batch& batch : batches) {
    ids.push_back(batch.ids);
    positions.push_back(batch.positions + offset);
    labels.push_back(batch.labels);
    if (masked) {
      masks.push_back(batch.attention_mask.defined() ? batch.attention_mask : torch::ones_like(batch.ids));
    }
    offset += batch.ids.numel();
    all.tokens += batch.tokens;
    all.whole.sequences += batch.whole.sequences;
    all.whole.words += batch.whole.words;
    all.whole.tokens += batch.whole.tokens;
  }
  all.ids = torch::cat(ids);
  all.positions = torch::cat(positions);
  all.labels = torch::cat(labels);
  if (masked) all.attention_mask = torch::cat(masks);
  return all;
}

BatchStream::BatchStream(std::function<Batch(int64_t)> make, int64_t first, size_t depth)
    : make_(std::move(make)), depth_(depth), thread_([this, first] { Produce(first); }) {}

BatchStream::~BatchStream() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BatchStream::Produce(int64_t number) {
  for (;; ++number) {
    Batch batch = make_(number);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stop_ || ready_.size() < depth_; });
    if (stop_) return;
    ready_.push_back(std::move(batch));
    changed_.notify_all();
  }
}

Batch BatchStream::Next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty(); });
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace grove::train
