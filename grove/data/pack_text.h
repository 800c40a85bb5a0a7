// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Text to a folder of token shards that training maps into memory:
//
//   train-00000.safetensors ...  `tokens` U16 (U32 from 65,537 words on) and `document_starts` I64 [documents + 1]
//   valid-00000.safetensors ...  the same for held-out documents
//   tokenizer.json               a copy
//   data.json                    counts, sources, unigram entropy; written last: a folder without it is not complete
//
// Documents carry no special tokens. Memory use is bounded whatever the size of the text. The same input gives the same
// files for any number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "grove/base/result.h"

namespace grove {

struct PackOptions {
  std::vector<std::string> texts;             // files or folders (data/text_reader.h)
  std::vector<std::string> valid_texts = {};  // held-out text; empty: `valid_fraction` of the documents of `texts`
  double valid_fraction = 0.01;               // chosen by a hash of the document's text
  std::string field = "text";                 // of a JSONL object: the document
  std::string tokenizer;                      // tokenizer.json or vocab.txt
  std::string output;                         // folder, made if missing
  size_t threads = 1;
};

struct PackReport {
  uint64_t train_documents = 0, train_tokens = 0;
  uint64_t valid_documents = 0, valid_tokens = 0;
  uint64_t vocabulary = 0;
  // Nats a token of the held-out text under the word frequencies of the training text (add-one smoothing): what a model
  // that knows frequencies and nothing else would score.
  double unigram_entropy = 0;
};

// `progress` (may be empty) is told the share of the input read and the tokens packed so far.
Result<PackReport> PackText(const PackOptions& options,
                            const std::function<void(double fraction, uint64_t tokens)>& progress);

}  // namespace grove
