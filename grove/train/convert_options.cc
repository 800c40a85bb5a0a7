// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include <fmt/format.h>

#include "grove/train/convert.h"

namespace grove::train {

OptionList ConvertOptionList(ConvertOptions& o) {
  return {
      {"model", &o.model, "Model directory with dense feedforward layers: crammedBERT, BERT or DistilBERT"},
      {"output", &o.output, "Folder for the converted model"},
      {"data", &o.data, "Folder of packed text, made by `grove-train data` with the model's tokenizer"},
      {"text", &o.text, "In place of --data: a text file or folder, packed with the model's tokenizer"},

      {"leaves", &o.leaves, "Leaves of each tree, a power of two", 1, 1 << 20},
      {"leaf_width", &o.leaf_width, "Neurons of a leaf; 0: as few as hold all neurons", 0, 1 << 20},
      {"paths", &o.paths, "Leaves a token visits; 0: a quarter", 0, 1 << 20},
      {"grouping", &o.grouping,
       "Which neurons share a leaf: alike in activation, in input weights, the better of both, or any", 0, 0,
       "best activations weights random"},
      {"routing", &o.routing, "Decisions learnt from activations, or at random", 0, 0, "learned random"},
      {"sample_tokens", &o.sample_tokens, "Tokens whose activations are looked at", 256, 1 << 20},

      {"heal_steps", &o.heal_steps, "Steps of distillation from the original; 0: none", 0, kMany},
      {"batch", &o.batch, "Sequences of one healing step", 1, 1 << 24},
      {"micro_batch", &o.micro_batch, "Sequences of one forward pass; 0: the whole batch", 0, 1 << 24},
      {"learning_rate", &o.learning_rate, "Peak rate of healing", 0, 10},
      {"mask_share", &o.mask_share, "Share of tokens masked, in healing and in what is held out", 0.01, 0.9},
      {"masked_lm_weight", &o.masked_lm_weight, "Healing: weight of the masked-LM loss", 0, 1e6},
      {"logits_weight", &o.logits_weight, "Healing: weight of T^2 KL(original || tree model)", 0, 1e6},
      {"hidden_weight", &o.hidden_weight, "Healing: weight of the hidden states' loss", 0, 1e6},
      {"layer_weight", &o.layer_weight, "Healing: weight of the feedforward outputs' loss", 0, 1e6},
      {"temperature", &o.temperature, "Healing: T, which divides the logits", 0.01, 1000},
      {"balance", &o.balance, "Healing: weight of the balance loss", 0, 100},
      {"heal_decisions", &o.heal_decisions, "Healing trains the decisions too; false: only what hangs on them"},

      {"length", &o.length, "Tokens of a sequence; 0: 128, or all that the model reads", 0, 65536},
      {"validation_sequences", &o.validation_sequences, "Held-out sequences, at most", 1, kMany},
      {"seed", &o.seed, "Of order, masks and whatever is random", 0, 9e15},
      {"device", &o.device, "Where to compute", 0, 0, "auto cpu cuda"},
      {"bf16", &o.bf16, "On a GPU: autocast to bf16"},
      {"log_every", &o.log_every, "Healing steps between log lines", 1, kMany},
      {"save_dtype", &o.save_dtype, "Number format of the saved model", 0, 0, "fp32 bf16"},
  };
}

Status CheckConvertOptions(const ConvertOptions& o) {
  const auto wrong = [](std::string text) { return Error(ErrorCode::kInvalidArgument, std::move(text)); };
  if (o.model.empty()) return wrong("--model is missing; name the model directory to convert");
  if (o.output.empty()) return wrong("--output is missing; name the folder for the converted model");
  if (o.data.empty() == o.text.empty()) return wrong("exactly one of --data and --text must be given");
  if ((o.leaves & (o.leaves - 1)) != 0)
    return wrong(fmt::format("--leaves is {} and must be a power of two", o.leaves));
  if (o.paths > o.leaves) {
    return wrong(fmt::format("--paths is {} and there are {} leaves; visit as many at most", o.paths, o.leaves));
  }
  if (o.micro_batch > 0 && o.batch % o.micro_batch != 0) return wrong("--batch must be a multiple of --micro-batch");
  const double weights = o.masked_lm_weight + o.logits_weight + o.hidden_weight + o.layer_weight;
  if (o.heal_steps > 0 && weights == 0) return wrong("every weight of healing is 0; give one, or --heal-steps 0");
  return Ok{};
}

}  // namespace grove::train
