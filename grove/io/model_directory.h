// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A model directory in the Hugging Face layout: config.json, model.safetensors, and tokenizer.json or vocab.txt.
#pragma once

#include <string>

#include "grove/base/result.h"
#include "grove/io/model_config.h"
#include "grove/io/safetensors.h"

namespace grove {

struct ModelDirectory {
  std::string path;
  ModelConfig config;
  SafetensorsFile weights;
  std::string tokenizer_path;  // tokenizer.json, else vocab.txt, else empty

  // An error naming the folder and what it lacks when it is no model.
  static Result<ModelDirectory> Open(const std::string& path);
};

}  // namespace grove
