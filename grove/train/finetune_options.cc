// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/finetune_options.h"

#include <fmt/format.h>

#include "grove/train/glue_tasks.h"

namespace grove::train {

OptionList FinetuneOptionList(FinetuneOptions& o) {
  return {
      {"about", &o.about, "What this configuration is for"},
      {"model", &o.model, "Model directory to start from: a pretrained encoder"},
      {"output", &o.output, "Folder for the fine-tuned model and its log"},

      {"task", &o.task, "GLUE task: " + GlueTaskNames()},
      {"data", &o.data, "Folder with the task's files (train.tsv, dev.tsv), or with one such folder a task"},
      {"train", &o.train, "Training rows, TSV or JSONL (words and tags: CoNLL too); replaces the task's file"},
      {"dev", &o.dev, "Rows to score on after every epoch, like --train"},
      {"kind", &o.kind, "What the rows of --train are without --task", 0, 0, "classification regression tokens"},
      {"text_column", &o.text_column, "Column of the text; default: sentence, text, sentence1, text1, tokens or words"},
      {"pair_column", &o.pair_column, "Column of the second text of a pair; default: sentence2 or text2 if there"},
      {"label_column", &o.label_column, "Column of the label; default: label, labels, score or tags"},
      {"max_examples", &o.max_examples, "Training rows used, spread evenly over the file; 0: all", 0, kMany},

      {"seeds", &o.seeds, "Runs with seeds of their own; the model of the median score is kept", 1, 1000},
      {"seed", &o.seed, "Of the first run: new head, order and dropout; the next runs count on from it", 0, 9e15},
      {"epochs", &o.epochs, "Passes over the training rows", 1, 10'000},
      {"batch", &o.batch, "Rows of one optimizer step", 1, 1 << 20},
      {"length", &o.length, "Most tokens of a row, special ones counted; longer rows are cut", 4, 65536},
      {"learning_rate", &o.learning_rate, "Peak rate of AdamW", 0, 10},
      {"warmup", &o.warmup, "Share of the steps over which the rate rises; then a cosine to 0", 0, 1},
      {"beta1", &o.beta1, "AdamW: decay of the mean gradient", 0, 1},
      {"beta2", &o.beta2, "AdamW: decay of the mean squared gradient", 0, 1},
      {"epsilon", &o.epsilon, "AdamW: added to the denominator", 0, 1},
      {"weight_decay", &o.weight_decay, "AdamW: not on biases and norms", 0, 10},
      {"clip", &o.clip, "Largest norm of the gradient; 0: no limit", 0, 1e9},
      {"dropout", &o.dropout, "Probability of dropping a hidden value", 0, 0.9},
      {"pooler", &o.pooler, "What the labels of a text are read from: its first token, or the mean of its tokens", 0, 0,
       "auto first mean"},
      {"pooler_width", &o.pooler_width, "Width of the tanh layer between the pooler and the labels", 1, 1 << 16},
      {"balance", &o.balance, "Weight of the load-balance loss of conditional layers; -1: 0.01, or 0 for neuron trees",
       -1, 100},
      {"hardening", &o.hardening, "leaf_tree: weight of the decisions' entropy", 0, 100},

      {"device", &o.device, "Where to compute", 0, 0, "auto cpu cuda", true},
      {"bf16", &o.bf16, "On a GPU: autocast to bf16"},
      {"log_every", &o.log_every, "Steps between log lines", 1, kMany},
      {"save_dtype", &o.save_dtype, "Number format of the saved model", 0, 0, "fp32 bf16"},
  };
}

Status CheckOptions(const FinetuneOptions& options) {
  const auto wrong = [](const std::string& text) { return Error(ErrorCode::kInvalidArgument, text); };
  if (options.model.empty()) return wrong("--model is missing; name the directory of a pretrained model");
  if (options.output.empty()) return wrong("--output is missing; name the folder for the fine-tuned model");
  if (options.task.empty()) {
    if (options.train.empty() || options.dev.empty()) {
      return wrong(
          "give a GLUE task and its folder (--task SST-2 --data FOLDER), or your own rows (--train and --dev)");
    }
    if (!options.data.empty()) return wrong("--data belongs to --task; without one give --train and --dev");
    return Ok{};
  }
  if (FindGlueTask(options.task) == nullptr) {
    return wrong(fmt::format("--task is {} and must be one of {}", options.task, GlueTaskNames()));
  }
  if (options.data.empty() && (options.train.empty() || options.dev.empty())) {
    return wrong("--data is missing; name the folder with the task's files, or give both --train and --dev");
  }
  return Ok{};
}

}  // namespace grove::train
