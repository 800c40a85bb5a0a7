// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Batches as a safetensors file that other programs read: what a run trains on, for a look at it or for training the
// same batches elsewhere.
//
//   input_ids       I64 [batches, sequences, length], masked
//   attention_mask  I64, the same shape: 1 token, 0 padding
//   labels          I64, the same shape: the word that is hidden there, -100 where none is
#pragma once

#include <cstdint>
#include <string>

#include "grove/base/result.h"
#include "grove/train/training_data.h"

namespace grove::train {

// Batches `first` to first + count - 1; `count` > 0. Atomic.
Status WriteBatchFile(const TrainingData& data, int64_t first, int64_t count, const std::string& path);

}  // namespace grove::train
