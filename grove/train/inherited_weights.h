// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What a student may take over from its teacher before it learns: attention, embeddings and norms are the same modules
// whatever the feedforward layers are (as DistilBERT begins with every second layer of BERT, arXiv 1910.01108).
#pragma once

#include <utility>
#include <vector>

#include "grove/train/distillation.h"

namespace grove::train {

// The student's parameters that the teacher has, too: of the same name, once block `i` is read as TeacherBlock(i), and
// of the same shape. Pairs of (student's, teacher's).
std::vector<std::pair<torch::Tensor, torch::Tensor>> SharedParameters(const TeacherAndStudent& models);

// Numbers in the student's half of `shared`.
int64_t CountNumbers(const std::vector<std::pair<torch::Tensor, torch::Tensor>>& shared);

}  // namespace grove::train
