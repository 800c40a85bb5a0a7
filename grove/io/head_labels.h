// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What a classifier's config.json says about its labels, in the keys of Hugging Face Transformers: "id2label" and
// "label2id" (names by number and back) and "problem_type" ("regression": the one output is a value).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "grove/io/model_config.h"
#include "grove/io/object_reader.h"

namespace grove {

// Fills label_names (empty where the file has none) and regression.
void ReadLabels(const ObjectReader& root, HeadConfig& head);
// Nothing for heads without labels. Labels without names are LABEL_0, LABEL_1, ..., as Transformers calls them.
void AddLabels(const HeadConfig& head, nlohmann::ordered_json& root);

}  // namespace grove
