// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove-train batches: what a pretraining run sees.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "cli/option_flags.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "grove/text/tokenizer.h"
#include "grove/train/batch_file.h"
#include "grove/train/pretrain_options.h"
#include "grove/train/training_data.h"

namespace grove::cli {
namespace {

// The options of pretraining that decide what a batch holds.
train::OptionList BatchOptionList(train::PretrainOptions& options) {
  train::OptionList list = train::PretrainOptionList(options);
  std::erase_if(list, [](const train::Option& option) {
    for (const char* name : {"data", "length", "batch", "micro_batch", "mask_share", "seed"}) {
      if (option.name == name) return false;
    }
    return true;
  });
  return list;
}

class BatchesVerb final : public Verb {
 public:
  BatchesVerb()
      : Verb({.name = "batches",
              .summary = "Show or write the masked batches that a pretraining run sees",
              .example =
                  "grove-train batches --data packed --length 64 --batch 4\n"
                  "grove-train batches --data packed --config configs/demo-leaf-tree.json --first 100 --count 10 "
                  "--output batches.safetensors"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--config", config_, "JSON file of pretraining options; what the command line names comes on top");
    flags_.Declare(app, BatchOptionList(options_));
    app.add_option("--first", first_, "Number of the first batch of one forward pass, from 0 on")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 48));
    app.add_option("--count", count_, "How many batches (default 1)")->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
    app.add_option("--output", output_,
                   "safetensors file to write in place of showing: input_ids, attention_mask and "
                   "labels (-100: no word to predict), each [batches, sequences, length]")
        ->type_name("FILE");
  }

  Status Check() override {
    train::PretrainOptions options;
    GROVE_RETURN_IF_ERROR(flags_.Apply(BatchOptionList(options)));
    if (config_.empty() && options.data.empty()) {
      return Error(ErrorCode::kInvalidArgument, "--data is missing; name the folder that `grove-train data` made");
    }
    return Ok{};
  }

  Status Run(const CommonOptions& common) override {
    if (!config_.empty()) {
      GROVE_RETURN_IF_ERROR(train::ReadOptionsFile(config_, train::PretrainOptionList(options_), "pretrain"));
    }
    GROVE_RETURN_IF_ERROR(flags_.Apply(BatchOptionList(options_)));
    GROVE_ASSIGN_OR_RETURN(const auto data,
                           train::TrainingData::Open(options_.data, {.length = options_.length,
                                                                     .mask_share = options_.mask_share,
                                                                     .seed = options_.seed,
                                                                     .sequences = options_.MicroBatch()}));
    if (!output_.empty()) return Write(common, data);
    return Show(common, data);
  }

 private:
  Status Write(const CommonOptions& common, const train::TrainingData& data) {
    GROVE_RETURN_IF_ERROR(train::WriteBatchFile(data, first_, count_, output_));
    if (common.json) {
      PrintJson({{"output", output_}, {"shape", {count_, options_.MicroBatch(), options_.length}}});
    } else {
      Print("{}: {} batches of {} sequences of {} tokens\n", output_, CountText(count_),
            CountText(options_.MicroBatch()), CountText(options_.length));
    }
    return Ok{};
  }

  Status Show(const CommonOptions& common, const train::TrainingData& data) {
    GROVE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(data.tokenizer_path()));
    Json batches = Json::array();
    for (int64_t number = first_; number < first_ + count_; ++number) {
      const train::Batch batch = data.TrainBatch(number);
      if (common.json) {
        batches.push_back(BatchJson(number, batch));
      } else {
        ShowBatch(number, batch, data, tokenizer);
      }
    }
    if (common.json) PrintJson({{"batches", std::move(batches)}});
    return Ok{};
  }

  static std::vector<int64_t> Values(const torch::Tensor& tensor) {
    return {tensor.data_ptr<int64_t>(), tensor.data_ptr<int64_t>() + tensor.numel()};
  }

  static Json BatchJson(int64_t number, const train::Batch& batch) {
    Json ids = Json::array();
    for (int64_t i = 0; i < batch.ids.size(0); ++i) ids.push_back(Values(batch.ids[i]));
    return {{"number", number},
            {"input_ids", std::move(ids)},
            {"positions", Values(batch.positions)},  // in the batch as one row
            {"labels", Values(batch.labels)},
            {"tokens", batch.tokens}};
  }

  // A line per sequence; a word to predict is {what the model sees -> the word}, padding is left out.
  static void ShowBatch(int64_t number, const train::Batch& batch, const train::TrainingData& data,
                        const Tokenizer& tokenizer) {
    const std::vector<int64_t> ids = Values(batch.ids), positions = Values(batch.positions);
    const std::vector<int64_t> labels = Values(batch.labels);
    const int64_t length = batch.ids.size(1);
    Print("batch {}: {} tokens in {} sequences, {} words to predict\n", number, CountText(batch.tokens),
          batch.ids.size(0), CountText(batch.positions.numel()));
    const auto token = [&](int64_t id) { return tokenizer.Token(static_cast<int32_t>(id)); };
    std::string line;
    size_t next = 0;  // label
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool hidden = next < positions.size() && positions[next] == static_cast<int64_t>(i);
      if (ids[i] != data.pad_id() || hidden) {
        line += ' ';
        line += hidden ? fmt::format("{{{} -> {}}}", token(ids[i]), token(labels[next])) : token(ids[i]);
      }
      if (hidden) ++next;
      if ((i + 1) % static_cast<size_t>(length) == 0) {
        Print(" {}\n", line);
        line.clear();
      }
    }
  }

  std::string config_, output_;
  int64_t first_ = 0, count_ = 1;
  train::PretrainOptions options_;
  OptionFlags flags_;
};

}  // namespace

std::unique_ptr<Verb> MakeBatchesVerb() { return std::make_unique<BatchesVerb>(); }

}  // namespace grove::cli
