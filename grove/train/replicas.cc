// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/replicas.h"

#include <algorithm>
#include <utility>

namespace grove::train {

std::vector<Batch> SplitBatch(const Batch& batch, size_t parts) {
  const int64_t sequences = batch.ids.size(0), length = batch.ids.size(1);
  const int64_t count = std::clamp<int64_t>(static_cast<int64_t>(parts), 1, sequences);
  if (count == 1) return {batch};
  const int64_t* positions = batch.positions.data_ptr<int64_t>();  // ascending
  const int64_t* end = positions + batch.positions.numel();
  std::vector<Batch> split;
  for (int64_t part = 0; part < count; ++part) {
    const int64_t first = sequences * part / count, last = sequences * (part + 1) / count;
    const int64_t* low = std::lower_bound(positions, end, first * length);
    const int64_t* high = std::lower_bound(low, end, last * length);
    const int64_t offset = low - positions, masked = high - low;
    split.push_back(
        {batch.ids.narrow(0, first, last - first), batch.positions.narrow(0, offset, masked) - first * length,
         batch.labels.narrow(0, offset, masked),
         batch.attention_mask.defined() ? batch.attention_mask.narrow(0, first, last - first) : torch::Tensor(),
         batch.tokens * (last - first) / sequences});
  }
  return split;
}

Replicas::Replicas(std::shared_ptr<Objective> main, AdamW& optimizer, size_t count,
                   const std::function<std::shared_ptr<Objective>()>& make)
    : group_(std::move(main), optimizer, count, make) {}

Replicas::Loss Replicas::ForwardBackward(const Batch& batch, const Options& options) {
  const std::vector<Batch> shares = SplitBatch(batch, group_.size());
  std::vector<Loss> losses(shares.size());
  const double all_words =
      static_cast<double>(std::max<int64_t>(options.words > 0 ? options.words : batch.labels.numel(), 1));
  const double all_sequences = static_cast<double>(options.sequences > 0 ? options.sequences : batch.ids.size(0));
  group_.ForEach([&](size_t replica) {
    if (replica >= shares.size()) return;
    const Batch& share = shares[replica];
    nn::SetBudgetFraction(group_[replica].trained(), options.budget_fraction);
    torch::Tensor loss;
    {
      const nn::AutocastScope autocast(options.bf16);
      const ObjectiveLoss parts = group_[replica].ComputeLoss(share);
      // Means over shares become the mean over the batch: weighted by the words predicted, and by the tokens seen.
      const double words = static_cast<double>(share.labels.numel()) / all_words;
      const double tokens = static_cast<double>(share.ids.size(0)) / all_sequences;
      loss = parts.per_word * words;
      losses[replica].value = loss.detach();
      if (parts.terms.defined()) losses[replica].terms = parts.terms * tokens;
      if (parts.per_token.defined()) loss = loss + parts.per_token * tokens;
    }
    loss.backward();
  });
  group_.GatherGradients();
  Loss sum = losses[0];
  for (size_t i = 1; i < losses.size(); ++i) {
    sum.value = sum.value + losses[i].value;
    if (sum.terms.defined()) sum.terms = sum.terms + losses[i].terms;
  }
  return sum;
}

std::vector<std::vector<std::shared_ptr<nn::FeedForward>>> Replicas::FeedForwards() const {
  std::vector<std::vector<std::shared_ptr<nn::FeedForward>>> layers;
  for (size_t i = 0; i < group_.size(); ++i) layers.push_back(group_[i].model().FeedForwards());
  return layers;
}

torch::Tensor Replicas::Evaluate(const std::vector<Batch>& batches, bool bf16) {
  group_.SetTraining(false);
  std::vector<torch::Tensor> sums(group_.size());
  group_.ForEach([&](size_t replica) {
    const torch::NoGradGuard no_grad;
    sums[replica] = torch::zeros({}, group_.device());
    for (size_t i = replica; i < batches.size(); i += group_.size()) {
      const nn::AutocastScope autocast(bf16);
      const Batch& batch = batches[i];
      sums[replica] += group_[replica].ValidationLoss(batch) * static_cast<double>(batch.labels.numel());
    }
  });
  group_.SetTraining(true);
  int64_t words = 0;
  for (const Batch& batch : batches) words += batch.labels.numel();
  torch::Tensor sum = sums[0];
  for (size_t i = 1; i < sums.size(); ++i) sum = sum + sums[i];
  return sum / static_cast<double>(words);
}

}  // namespace grove::train
