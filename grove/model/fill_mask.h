// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Which words fit where a text says [MASK].
//
//   GROVE_ASSIGN_OR_RETURN(const auto filled, FillMasks(model, texts, {.top = 3}));
//   filled[0].masks[0].words[0].token   // the most probable word for the first [MASK] of the first text
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/model/model.h"

namespace grove {

struct FillMaskOptions {
  size_t top = 5;         // words per mask, fewer if the vocabulary is smaller
  bool truncate = false;  // cut texts at the model's limit instead of refusing them
};

struct MaskWord {
  int32_t id = 0;
  std::string token;  // as in the vocabulary: "##ing" continues a word
  double probability = 0;
};

struct FilledMask {
  TokenOffset offset;           // of [MASK] in the text
  std::vector<MaskWord> words;  // most probable first, ties by id
};

struct FilledText {
  std::vector<FilledMask> masks;  // in the order of the text, at least one
  std::string best;               // the text, as tokens put together again, with the most probable words
};

// One result per text. An error names the text by its number: one without [MASK], too long, or not valid UTF-8.
// The model must have a masked-LM head and its tokenizer.
Result<std::vector<FilledText>> FillMasks(const LoadedModel& model, std::span<const std::string> texts,
                                          const FillMaskOptions& options);

}  // namespace grove
