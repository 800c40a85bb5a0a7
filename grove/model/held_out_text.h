// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Sequences of tokens that two forms of a model are compared on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/text/tokenizer.h"

namespace grove {

struct HeldOutOptions {
  std::string data = {};                // a folder of packed text (data/packed_text.h): its held-out side
  std::vector<std::string> texts = {};  // without `data`: text (data/text_reader.h); neither: SampleText()
  size_t sequences = 128;               // at most
  size_t length = 128;                  // tokens of a sequence at most, [CLS] and [SEP] among them; at least 3
};

struct HeldOutText {
  std::string description;                      // "text.txt, 128 sequences"
  std::vector<std::vector<int32_t>> sequences;  // [CLS] ... [SEP], at least one
};

// Documents are cut into sequences. Of packed text they are spread evenly over the held-out side, of other text they
// are the first ones. An error if the text gives none, or was packed with a vocabulary of another size.
Result<HeldOutText> ReadHeldOut(const HeldOutOptions& options, const Tokenizer& tokenizer);

// A page of plain English prose, written for this.
std::string_view SampleText();

}  // namespace grove
