// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Fine-tuning: a pretrained model directory and labelled rows in, a model directory out. The output folder holds
//
//   config.json, model.safetensors, tokenizer.json   the model, as `grove` and the paper's classes load it
//   training.json                                    its card: task, files, every seed's score, options
//   log.jsonl                                        losses and the scores of every epoch
//
// Of several seeds the model of the median score is kept (of an even number the lower of the middle two). The same
// options, threads and seed give the same model on a CPU.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/train/finetune_options.h"

namespace grove::train {

struct FinetuneReport {
  int64_t run = 0, runs = 1;  // run: from 0
  int64_t epoch = 0, epochs = 1;
  double fraction = 0;  // of all runs
  double loss = 0;
  std::optional<double> score;  // after the last epoch that is done
};

// How fine-tuning speaks; the library itself prints nothing. Called on the thread that called Finetune().
class FinetuneObserver {
 public:
  virtual ~FinetuneObserver() = default;
  virtual void Notice(const std::string& sentence) = 0;
  virtual void Report(const FinetuneReport& report) = 0;
};

struct FinetuneContext {
  size_t threads = 1;
  bool overwrite = false;                // replace a model that is in the output folder
  FinetuneObserver* observer = nullptr;  // may be null
};

// Returns the card (training.json) as text.
Result<std::string> Finetune(const FinetuneOptions& options, const FinetuneContext& context);

}  // namespace grove::train
