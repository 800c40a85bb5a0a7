// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/inherited_weights.h"

#include <charconv>
#include <string>
#include <string_view>

namespace grove::train {
namespace {

// "encoder.layers.1.norm1.weight" as the teacher calls it. BERT and DistilBERT say "layer" where crammedBERT says
// "layers".
std::string TeachersName(const std::string& name, const TeacherAndStudent& models) {
  for (const std::string_view blocks : {".layers.", ".layer."}) {
    const size_t at = name.find(blocks);
    if (at == std::string::npos) continue;
    const size_t digits = at + blocks.size();
    int64_t block = 0;
    const auto parsed = std::from_chars(name.data() + digits, name.data() + name.size(), block);
    if (parsed.ec != std::errc{}) continue;
    const int64_t theirs = TeacherBlock(block, models.student_config.layers, models.teacher_config.layers);
    return name.substr(0, digits) + std::to_string(theirs) + parsed.ptr;
  }
  return name;
}

}  // namespace

std::vector<std::pair<torch::Tensor, torch::Tensor>> SharedParameters(const TeacherAndStudent& models) {
  std::vector<std::pair<torch::Tensor, torch::Tensor>> shared;
  const auto theirs = models.teacher->named_parameters();
  for (const auto& item : models.student->named_parameters()) {
    const torch::Tensor* found = theirs.find(TeachersName(item.key(), models));
    if (found != nullptr && found->sizes() == item.value().sizes()) shared.emplace_back(item.value(), *found);
  }
  return shared;
}

int64_t CountNumbers(const std::vector<std::pair<torch::Tensor, torch::Tensor>>& shared) {
  int64_t count = 0;
  for (const auto& [student, teacher] : shared) count += student.numel();
  return count;
}

}  // namespace grove::train
