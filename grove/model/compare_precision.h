// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What lower precision costs a model: it runs beside its fp32 form on the same sequences.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "grove/base/result.h"
#include "grove/model/model.h"

namespace grove {

// Of masked words, in nats, with the same masks for both: 25 % of the tokens, of which 80 % are [MASK], 10 % another
// word and 10 % stay.
struct LossComparison {
  double fp32 = 0, rounded = 0;
  double relative() const { return fp32 > 0 ? rounded / fp32 - 1 : 0; }
};

struct PrecisionComparison {
  size_t sequences = 0, tokens = 0;
  // Relative error ||rounded - fp32|| / ||fp32|| of the hidden vectors of all tokens: of the embedding, then after each
  // layer, last after the model's final norm where it has one.
  std::vector<double> hidden_error = {};
  size_t answers = 0;                       // of the head: masked words, sequences or tokens
  std::optional<double> same_answer = {};   // share whose most probable answer is the same; not of regression
  std::optional<LossComparison> loss = {};  // masked-LM head
  std::optional<double> answer_error = {};  // regression: ||rounded - fp32|| / ||fp32||
};

// Two forms of one model. `progress`, told the share that is done, may say no: an error then. Scores that are no
// numbers are an error, too.
Result<PrecisionComparison> ComparePrecision(const LoadedModel& fp32, const LoadedModel& rounded,
                                             const std::vector<std::vector<int32_t>>& sequences,
                                             const std::function<bool(double)>& progress);

}  // namespace grove
