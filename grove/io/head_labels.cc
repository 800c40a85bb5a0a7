// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/head_labels.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace grove {

void ReadLabels(const ObjectReader& root, HeadConfig& head) {
  if (!head.classifies()) return;
  const nlohmann::json* problem = root.Find("problem_type");
  head.regression = problem != nullptr && *problem == "regression";
  const nlohmann::json* names = root.Find("id2label");
  if (names == nullptr) return;
  std::vector<std::string> by_number;
  for (size_t i = 0; names->is_object() && i < names->size(); ++i) {
    const auto name = names->find(std::to_string(i));
    if (name == names->end() || !name->is_string()) break;
    by_number.push_back(name->get<std::string>());
  }
  if (!names->is_object() || by_number.size() != names->size()) {
    root.Fail(ErrorCode::kInvalidArgument, "\"id2label\" must be {\"0\": \"name\", \"1\": \"name\", ...}");
    return;
  }
  head.label_names = std::move(by_number);
}

void AddLabels(const HeadConfig& head, nlohmann::ordered_json& root) {
  if (!head.classifies()) return;
  const auto labels = static_cast<size_t>(head.labels);
  for (size_t i = 0; i < labels; ++i) {
    const std::string name = head.label_names.size() == labels ? head.label_names[i] : "LABEL_" + std::to_string(i);
    root["id2label"][std::to_string(i)] = name;
    root["label2id"][name] = i;
  }
  if (head.regression) root["problem_type"] = "regression";
}

}  // namespace grove
