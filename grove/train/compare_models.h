// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// How close one model is to another on held-out text: what distillation and conversion report.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "grove/train/objective.h"

namespace grove::train {

struct ModelComparison {
  std::optional<double> reference_loss, loss;  // masked-LM loss of each, masked LMs only
  std::optional<double> kl;                    // KL(reference || model) at the masked positions, or of the classes
  std::optional<double> agreement;             // share of these whose most probable answer is the same
  std::optional<double> hidden_cosine;         // of the encoders' outputs, mean over tokens; where widths are equal
};

// Both in evaluation mode afterwards, with the same head `head`; batches on their device.
ModelComparison CompareModels(nn::TextModel& reference, nn::TextModel& model, HeadKind head,
                              const std::vector<Batch>& batches, bool bf16);

// {"reference_loss": ..., "loss": ..., "kl": ..., "agreement": ..., "hidden_cosine": ...}, what there is.
nlohmann::ordered_json ComparisonJson(const ModelComparison& comparison);

}  // namespace grove::train
