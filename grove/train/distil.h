// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// `grove-train distil`: a student learns from a teacher on packed text, by the loop, the recipe and the output folder
// of pretraining (pretrain.h). The student is the model that the pretraining options describe, or a model directory.
#pragma once

#include <string>

#include "grove/train/pretrain.h"

namespace grove::train {

struct DistilOptions : PretrainOptions {
  std::string teacher, student;  // model directories; student: empty for the one that the options describe
  bool inherit = false;          // begin with the teacher's weights where they fit (inherited_weights.h)
  double masked_lm_weight = 1, logits_weight = 1, hidden_weight = 1, layer_weight = 0;
  double temperature = 2;
  std::string hidden_loss = "cosine";
};

// Bound to `options`, which outlives the list.
OptionList DistilOptionList(DistilOptions& options);
Status CheckDistilOptions(const DistilOptions& options);

// The card of the finished model says under "teacher" how close it comes (compare_models.h).
Result<PretrainSummary> Distil(const DistilOptions& options, const PretrainContext& context);

}  // namespace grove::train
