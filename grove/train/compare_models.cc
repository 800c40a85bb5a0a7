// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/compare_models.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "grove/train/distillation.h"

namespace grove::train {
namespace {

struct Sums {
  double reference_loss = 0, loss = 0, kl = 0, agreed = 0, answers = 0, words = 0, cosine = 0, tokens = 0;
};

void AddBatch(nn::TextModel& reference, nn::TextModel& model, HeadKind head, const Batch& masked, Sums& sums) {
  const Batch batch = AsReadBy(head, masked);
  const torch::Tensor a = reference.Encode(InputOf(batch), nullptr).hidden;
  const torch::Tensor b = model.Encode(InputOf(batch), nullptr).hidden;
  if (a.sizes() == b.sizes()) {
    const torch::Tensor cosine = torch::cosine_similarity(a.to(torch::kFloat), b.to(torch::kFloat), -1);
    const torch::Tensor seen =
        batch.attention_mask.defined() ? batch.attention_mask.to(torch::kFloat) : torch::ones_like(cosine);
    sums.cosine += (cosine * seen).sum().item<double>();
    sums.tokens += seen.sum().item<double>();
  }
  if (head == HeadKind::kNone) return;
  const torch::Tensor x = reference.Logits(a, batch.attention_mask, batch.positions);
  const torch::Tensor y = model.Logits(b, batch.attention_mask, batch.positions);
  const double rows = static_cast<double>(x.size(0));
  sums.answers += rows;
  sums.kl += KlDivergence(x, y, 1.0).item<double>() * rows;
  sums.agreed += (x.argmax(-1) == y.argmax(-1)).sum().item<double>();
  if (head != HeadKind::kMaskedLm) return;
  const double words = static_cast<double>(batch.labels.numel());
  sums.words += words;
  sums.reference_loss += MaskedLmLoss(reference, a, batch).item<double>() * words;
  sums.loss += MaskedLmLoss(model, b, batch).item<double>() * words;
}

}  // namespace

ModelComparison CompareModels(nn::TextModel& reference, nn::TextModel& model, HeadKind head,
                              const std::vector<Batch>& batches, bool bf16) {
  reference.eval();
  model.eval();
  const torch::NoGradGuard no_grad;
  Sums sums;
  for (const Batch& batch : batches) {
    const nn::AutocastScope autocast(bf16);
    AddBatch(reference, model, head, batch, sums);
  }
  ModelComparison result;
  if (sums.tokens > 0) result.hidden_cosine = sums.cosine / sums.tokens;
  if (sums.answers > 0) {
    result.kl = sums.kl / sums.answers;
    result.agreement = sums.agreed / sums.answers;
  }
  if (sums.words > 0) {
    result.reference_loss = sums.reference_loss / sums.words;
    result.loss = sums.loss / sums.words;
  }
  return result;
}

nlohmann::ordered_json ComparisonJson(const ModelComparison& comparison) {
  nlohmann::ordered_json json;
  if (comparison.reference_loss) json["reference_loss"] = *comparison.reference_loss;
  if (comparison.loss) json["loss"] = *comparison.loss;
  if (comparison.kl) json["kl"] = *comparison.kl;
  if (comparison.agreement) json["agreement"] = *comparison.agreement;
  if (comparison.hidden_cosine) json["hidden_cosine"] = *comparison.hidden_cosine;
  return json;
}

}  // namespace grove::train
