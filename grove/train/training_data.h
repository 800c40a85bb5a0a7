// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A folder of packed text (grove/data) as masked-LM batches. Which sequences a batch holds and what is masked in them
// are functions of the seed and the batch's number alone.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "grove/base/result.h"
#include "grove/train/batches.h"

namespace grove::train {

struct TrainingDataOptions {
  int64_t length = 128;  // tokens of a sequence
  double mask_share = 0.25;
  int64_t seed = 1;
  int64_t sequences = 64;  // of one batch
  bool pinned = false;     // batches in pinned memory
  // A batch is shared out evenly among this many processes; this is the share of one of them.
  int rank = 0, processes = 1;
};

class TrainingData {
 public:
  static Result<TrainingData> Open(const std::string& folder, const TrainingDataOptions& options);
  TrainingData(TrainingData&&) noexcept;
  ~TrainingData();

  int64_t vocabulary() const;
  int64_t pad_id() const;
  std::string tokenizer_path() const;
  nlohmann::ordered_json card() const;  // data.json: what the text is, its counts, the unigram entropy

  // This process's share of the batch. Its counts of the whole batch need no word from the other processes: every
  // process draws the masks of all sequences, 1 to 2 microseconds each, and keeps its own.
  Batch TrainBatch(int64_t number) const;
  // Held-out sequences, `limit` at most, spread over the whole set; masks depend on nothing but the set, so that every
  // model is judged on the same words.
  std::vector<Batch> ValidationBatches(int64_t limit) const;

 private:
  struct State;
  struct OtherCounts;
  explicit TrainingData(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace grove::train
