// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/training_data.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "grove/data/packed_text.h"
#include "grove/data/sequences.h"
#include "grove/text/tokenizer.h"

namespace grove::train {
namespace {

constexpr uint64_t kValidationSeed = 20231118;  // of masks; fixed, so that every run is judged on the same words
constexpr int64_t kValidationBatch = 64;        // sequences

}  // namespace

struct TrainingData::State {
  PackedText packed;
  TrainingDataOptions options;
  int64_t pad_id = 0;
  MaskOptions mask;
  std::optional<SequenceIndex> train, valid;  // refer to `packed`

  torch::Tensor NewTensor(at::IntArrayRef shape) const {
    return torch::empty(shape, torch::TensorOptions(torch::kLong).pinned_memory(options.pinned));
  }
  torch::Tensor ToTensor(const std::vector<int64_t>& values) const {
    const torch::Tensor tensor = NewTensor({static_cast<int64_t>(values.size())});
    std::copy(values.begin(), values.end(), tensor.data_ptr<int64_t>());
    return tensor;
  }

  // The sequences that read(0), read(1), ... write, each masked with the random numbers of (seed, key(i)).
  template <class Read, class Key>
  Batch MakeBatch(int64_t count, uint64_t seed, const Read& read, const Key& key) const {
    const torch::Tensor ids = NewTensor({count, options.length});
    const std::span<int64_t> all(ids.data_ptr<int64_t>(), static_cast<size_t>(ids.numel()));
    std::vector<int64_t> positions, labels;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t offset = i * options.length;
      const auto row = all.subspan(static_cast<size_t>(offset), static_cast<size_t>(options.length));
      read(i, row.data());
      KeyedRandom random(seed, key(i));
      MaskTokens(mask, random, row, offset, &positions, &labels);
    }
    const auto padding = std::count(all.begin(), all.end(), pad_id);
    Batch batch{ids, ToTensor(positions), ToTensor(labels), {}, ids.numel() - padding};
    batch.whole = {count, static_cast<int64_t>(labels.size()), batch.tokens};
    if (padding == 0) return batch;
    batch.attention_mask = NewTensor(ids.sizes());
    std::transform(all.begin(), all.end(), batch.attention_mask.data_ptr<int64_t>(),
                   [this](int64_t id) { return id == pad_id ? 0 : 1; });
    return batch;
  }
};

// The counts of the sequences first ... last - 1 of a batch, which another process trains on.
struct TrainingData::OtherCounts {
  const State& state;
  std::vector<int64_t> ids = std::vector<int64_t>(static_cast<size_t>(state.options.length));
  std::vector<int64_t> positions = {}, labels = {};

  void Add(uint64_t sequence, BatchCounts* counts) {
    state.train->Read(sequence, ids.data());
    KeyedRandom random(static_cast<uint64_t>(state.options.seed), sequence);
    const auto padding = std::count(ids.begin(), ids.end(), state.pad_id);
    labels.clear();
    positions.clear();
    MaskTokens(state.mask, random, ids, 0, &positions, &labels);
    ++counts->sequences;
    counts->words += static_cast<int64_t>(labels.size());
    counts->tokens += state.options.length - padding;
  }
};

TrainingData::TrainingData(std::unique_ptr<State> state) : state_(std::move(state)) {}
TrainingData::TrainingData(TrainingData&&) noexcept = default;
TrainingData::~TrainingData() = default;

Result<TrainingData> TrainingData::Open(const std::string& folder, const TrainingDataOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  GROVE_ASSIGN_OR_RETURN(state->packed, PackedText::Open(folder));
  GROVE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(state->packed.tokenizer_path));
  if (!tokenizer.mask_id() || !tokenizer.pad_id()) {
    return Error(
        ErrorCode::kInvalidArgument,
        state->packed.tokenizer_path + " has no [MASK] or no [PAD]; pack the text with a vocabulary that has both");
  }
  state->pad_id = *tokenizer.pad_id();
  state->mask = {options.mask_share,
                 *tokenizer.mask_id(),
                 static_cast<int64_t>(tokenizer.vocabulary_size()),
                 {state->pad_id, tokenizer.unknown_id(), tokenizer.cls_id(), tokenizer.sep_id(), *tokenizer.mask_id()}};
  const SequenceOptions sequences{.length = static_cast<size_t>(options.length),
                                  .cls_id = tokenizer.cls_id(),
                                  .sep_id = tokenizer.sep_id(),
                                  .pad_id = state->pad_id,
                                  .seed = static_cast<uint64_t>(options.seed)};
  state->train.emplace(state->packed.train, sequences);
  state->valid.emplace(state->packed.valid, sequences);
  if (state->train->size() == 0) {
    return Error(ErrorCode::kInvalidArgument, folder + " holds no text to train on; pack it again with some");
  }
  if (state->valid->size() == 0) {
    return Error(ErrorCode::kInvalidArgument,
                 folder + " holds out no text; pack it again with --valid-text or a larger --valid-fraction");
  }
  return TrainingData(std::move(state));
}

int64_t TrainingData::vocabulary() const { return static_cast<int64_t>(state_->packed.vocabulary); }
int64_t TrainingData::pad_id() const { return state_->pad_id; }
std::string TrainingData::tokenizer_path() const { return state_->packed.tokenizer_path; }
nlohmann::ordered_json TrainingData::card() const { return state_->packed.card; }

Batch TrainingData::TrainBatch(int64_t number) const {
  const TrainingDataOptions& options = state_->options;
  const int64_t all = options.sequences;
  const int64_t first = all * options.rank / options.processes, last = all * (options.rank + 1) / options.processes;
  const auto sequence = [&](int64_t i) { return static_cast<uint64_t>(number * all + i); };
  const auto own = [&](int64_t i) { return sequence(first + i); };
  Batch batch = state_->MakeBatch(
      last - first, static_cast<uint64_t>(options.seed),
      [&](int64_t i, int64_t* ids) { state_->train->Read(own(i), ids); }, own);
  if (options.processes == 1) return batch;
  OtherCounts others{*state_};
  for (int64_t i = 0; i < all; ++i) {
    if (i < first || i >= last) others.Add(sequence(i), &batch.whole);
  }
  return batch;
}

std::vector<Batch> TrainingData::ValidationBatches(int64_t limit) const {
  const int64_t pieces = static_cast<int64_t>(state_->valid->size()), total = std::min(limit, pieces);
  std::vector<Batch> batches;
  for (int64_t first = 0; first < total; first += kValidationBatch) {
    const auto piece = [&](int64_t i) { return static_cast<size_t>((first + i) * pieces / total); };
    batches.push_back(state_->MakeBatch(
        std::min(kValidationBatch, total - first), kValidationSeed,
        [&](int64_t i, int64_t* ids) { state_->valid->ReadPiece(piece(i), ids); }, piece));
  }
  return batches;
}

}  // namespace grove::train
