// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A run's log (run_log.h) as TensorBoard sees it. The event file is a function of the log's lines alone: a resumed run,
// whose log was cut back to its checkpoint, writes it again from the lines that are left, so that no step occurs twice.
//
//   line                     scalars
//   "step"                   train/<key> for every number of the line: loss, rate, gradient_norm, tokens_per_second,
//   ... "validation"             validation/<key> "routing"                routing/<figure>/layer<i>: the mean over the
//   layer's levels, or the sum for counts; and a
//                            histogram routing/tokens_per_unit/layer<i> of the deepest level
//
// The time of an event is the run's start plus its training seconds: pauses between a stop and a resumption are no
// training time and do not show.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "grove/base/result.h"
#include "grove/train/event_file.h"

namespace grove::train {

class TensorBoard {
 public:
  // Makes the folder and starts its event file anew.
  static Result<TensorBoard> Create(const std::string& folder);

  // Adds what the line holds; nothing for lines without a step.
  Status Add(const nlohmann::ordered_json& line);

 private:
  explicit TensorBoard(EventFile file) : file_(std::move(file)) {}
  EventFile file_;
  double start_ = 0;  // seconds since 1970, of the "start" line
};

}  // namespace grove::train
