// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/objective.h"

#include <algorithm>

namespace grove::train {

nn::TextInput InputOf(const Batch& batch) {
  return {.ids = batch.ids, .attention_mask = batch.attention_mask, .token_types = {}};
}

torch::Tensor MaskedLmLoss(nn::TextModel& model, const torch::Tensor& hidden, const Batch& batch) {
  const torch::Tensor logits = model.Logits(hidden, batch.attention_mask, batch.positions);
  // The mean as a sum: over no words it is 0 and not 0 / 0.
  const torch::Tensor sum =
      torch::cross_entropy_loss(logits.to(torch::kFloat), batch.labels, /*weight=*/{}, at::Reduction::Sum);
  return sum / static_cast<double>(std::max<int64_t>(batch.labels.size(0), 1));
}

ObjectiveLoss MaskedLmObjective::ComputeLoss(const Batch& batch) {
  const nn::EncoderOutput out = model_->Encode(InputOf(batch), nullptr);
  return {MaskedLmLoss(*model_, out.hidden, batch), out.regularizer, {}};
}

torch::Tensor MaskedLmObjective::ValidationLoss(const Batch& batch) {
  return MaskedLmLoss(*model_, model_->Encode(InputOf(batch), nullptr).hidden, batch);
}

}  // namespace grove::train
