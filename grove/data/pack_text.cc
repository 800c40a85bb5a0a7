// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/data/pack_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "grove/base/thread_pool.h"
#include "grove/data/text_reader.h"
#include "grove/io/files.h"
#include "grove/io/safetensors.h"
#include "grove/text/tokenizer.h"

namespace grove {
namespace {

constexpr size_t kShardTokens = size_t{32} << 20;
constexpr size_t kBatchBytes = size_t{8} << 20;  // text tokenized in parallel at a time

// Tokens of one side ("train" or "valid"), written shard by shard.
class ShardWriter {
 public:
  ShardWriter(std::string folder, std::string side, size_t vocabulary)
      : folder_(std::move(folder)), side_(std::move(side)), wide_(vocabulary > 65536), counts_(vocabulary) {}

  Status Add(const std::vector<int32_t>& ids) {
    if (ids.empty()) return Ok{};
    if (!tokens_.empty() && tokens_.size() + ids.size() > kShardTokens) GROVE_RETURN_IF_ERROR(Flush());
    for (const int32_t id : ids) {
      tokens_.push_back(static_cast<uint32_t>(id));
      ++counts_[static_cast<size_t>(id)];
    }
    starts_.push_back(static_cast<int64_t>(tokens_.size()));
    total_ += ids.size();
    ++documents_;
    return Ok{};
  }

  Status Flush() {
    if (tokens_.empty()) return Ok{};
    const Shape shape{static_cast<int64_t>(tokens_.size())};
    std::vector<uint16_t> narrow;
    TensorView view{DType::kU32, shape, std::as_bytes(std::span(tokens_))};
    if (!wide_) {
      narrow.assign(tokens_.begin(), tokens_.end());
      view = {DType::kU16, shape, std::as_bytes(std::span(narrow))};
    }
    const TensorMap tensors{{"tokens", view},
                            {"document_starts", ViewOf(starts_, {static_cast<int64_t>(starts_.size())})}};
    GROVE_RETURN_IF_ERROR(
        WriteSafetensors(fmt::format("{}/{}-{:05}.safetensors", folder_, side_, shards_), tensors, {}));
    ++shards_;
    tokens_.clear();
    starts_.assign(1, 0);
    return Ok{};
  }

  const std::vector<uint64_t>& counts() const { return counts_; }
  uint64_t tokens() const { return total_; }
  uint64_t documents() const { return documents_; }
  size_t shards() const { return shards_; }

 private:
  std::string folder_, side_;
  bool wide_;
  std::vector<uint32_t> tokens_;
  std::vector<int64_t> starts_{0};
  std::vector<uint64_t> counts_;  // by token
  uint64_t total_ = 0, documents_ = 0;
  size_t shards_ = 0;
};

// FNV-1a: which documents are held out depends on their text alone. Those below a share of kLots are.
constexpr uint64_t kLots = 1000000;
uint64_t Lot(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  hash ^= hash >> 32;
  return hash % kLots;
}

double UnigramEntropy(const std::vector<uint64_t>& train, uint64_t train_total, const std::vector<uint64_t>& valid,
                      uint64_t valid_total) {
  if (valid_total == 0) return 0;
  double nats = 0;
  for (size_t id = 0; id < valid.size(); ++id) {
    const double p = (static_cast<double>(train[id]) + 1) / static_cast<double>(train_total + train.size());
    nats -= static_cast<double>(valid[id]) * std::log(p);
  }
  return nats / static_cast<double>(valid_total);
}

class Packer {
 public:
  // Documents whose lot is below `held_out` are held out.
  Packer(const PackOptions& options, Tokenizer tokenizer, double held_out,
         const std::function<void(double, uint64_t)>& progress)
      : options_(options),
        held_out_(held_out),
        tokenizer_(std::move(tokenizer)),
        progress_(progress),
        pool_(options.threads),
        train_(options.output, "train", tokenizer_.vocabulary_size()),
        valid_(options.output, "valid", tokenizer_.vocabulary_size()) {}

  Result<PackReport> Run() {
    Result<PackReport> report = Pack();
    if (!report.ok()) Clear();
    return report;
  }

  // The lowest lot of a document that was not held out.
  uint64_t lowest_lot() const { return lowest_lot_; }

 private:
  Result<PackReport> Pack() {
    GROVE_ASSIGN_OR_RETURN(TextReader texts, TextReader::Open(options_.texts, {options_.field}));
    std::optional<TextReader> valid_texts;
    if (!options_.valid_texts.empty()) {
      GROVE_ASSIGN_OR_RETURN(valid_texts, TextReader::Open(options_.valid_texts, {options_.field}));
    }
    GROVE_RETURN_IF_ERROR(PrepareFolder());
    bytes_total_ = texts.bytes_total() + (valid_texts ? valid_texts->bytes_total() : 0);
    GROVE_RETURN_IF_ERROR(ReadAll(texts, valid_texts ? &train_ : nullptr));
    if (valid_texts) GROVE_RETURN_IF_ERROR(ReadAll(*valid_texts, &valid_));
    GROVE_RETURN_IF_ERROR(train_.Flush());
    GROVE_RETURN_IF_ERROR(valid_.Flush());
    if (train_.tokens() == 0) {
      return Error(ErrorCode::kInvalidArgument,
                   texts.files().front() + " has no documents to train on; give more text or hold out less");
    }
    if (valid_texts && valid_.tokens() == 0) {
      return Error(ErrorCode::kInvalidArgument,
                   valid_texts->files().front() + " has no documents to hold out; name a file with text");
    }
    return Finish(texts, valid_texts);
  }

  // An earlier data.json goes first, so that a half-written folder never looks complete; then its shards.
  Status PrepareFolder() {
    std::error_code error;
    folder_is_new_ = std::filesystem::create_directories(options_.output, error);
    if (error) return Error(ErrorCode::kIo, options_.output + " cannot be made: " + error.message());
    prepared_ = true;
    RemoveShards();
    return Ok{};
  }

  // A failed run leaves nothing of its own behind.
  void Clear() const {
    if (!prepared_) return;
    RemoveShards();
    if (folder_is_new_) (void)RemoveFolder(options_.output);
  }

  void RemoveShards() const {
    namespace fs = std::filesystem;
    std::error_code error;
    fs::remove(options_.output + "/data.json", error);
    for (const auto& entry : fs::directory_iterator(options_.output, error)) {
      const std::string name = entry.path().filename().string();
      const bool shard = (name.starts_with("train-") || name.starts_with("valid-")) && name.ends_with(".safetensors");
      if (shard) fs::remove(entry.path(), error);
    }
  }

  struct Document {
    std::string text, file;
  };

  // All documents go to `side`, or where it is null to the side that their hash says.
  Status ReadAll(TextReader& reader, ShardWriter* side) {
    std::vector<Document> batch;
    size_t bytes = 0;
    for (bool more = true; more;) {
      std::string document;
      GROVE_ASSIGN_OR_RETURN(more, reader.Next(&document));
      if (more) {
        bytes += document.size();
        batch.push_back({std::move(document), reader.file()});
      }
      if (bytes < kBatchBytes && more) continue;
      GROVE_RETURN_IF_ERROR(PackBatch(batch, side));
      batch.clear();
      bytes = 0;
      if (progress_ && bytes_total_ > 0) {
        progress_(static_cast<double>(bytes_before_ + reader.bytes_read()) / static_cast<double>(bytes_total_),
                  train_.tokens() + valid_.tokens());
      }
    }
    bytes_before_ += reader.bytes_read();
    return Ok{};
  }

  Status PackBatch(const std::vector<Document>& batch, ShardWriter* side) {
    std::vector<std::optional<Result<Encoding>>> encodings(batch.size());
    pool_.ParallelFor(batch.size(), 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i)
        encodings[i] = tokenizer_.Encode(batch[i].text, {.add_special_tokens = false});
    });
    for (size_t i = 0; i < batch.size(); ++i) {
      if (!encodings[i]->ok()) {
        return Error(encodings[i]->error().code(),
                     fmt::format("{}, document beginning \"{}\": {}", batch[i].file, Beginning(batch[i].text),
                                 encodings[i]->error().message()));
      }
      GROVE_RETURN_IF_ERROR((side ? side : SideOf(batch[i].text))->Add(encodings[i]->value().ids));
    }
    return Ok{};
  }

  ShardWriter* SideOf(const std::string& text) {
    const uint64_t lot = Lot(text);
    if (static_cast<double>(lot) < held_out_) return &valid_;
    lowest_lot_ = std::min(lowest_lot_, lot);
    return &train_;
  }

  static std::string Beginning(const std::string& text) {
    std::string beginning = text.substr(0, std::min<size_t>(text.find('\n'), 40));
    for (char& c : beginning) {
      if (static_cast<unsigned char>(c) < 32 || static_cast<unsigned char>(c) > 126) c = '?';
    }
    return beginning;
  }

  Result<PackReport> Finish(const TextReader& texts, const std::optional<TextReader>& valid_texts) const {
    const PackReport report{
        .train_documents = train_.documents(),
        .train_tokens = train_.tokens(),
        .valid_documents = valid_.documents(),
        .valid_tokens = valid_.tokens(),
        .vocabulary = tokenizer_.vocabulary_size(),
        .unigram_entropy = UnigramEntropy(train_.counts(), train_.tokens(), valid_.counts(), valid_.tokens())};
    const auto names = [](const std::vector<std::string>& paths) {
      std::vector<std::string> files;
      files.reserve(paths.size());
      for (const std::string& path : paths) files.push_back(std::filesystem::path(path).filename().string());
      return files;
    };
    const nlohmann::ordered_json json = {
        {"sources", names(texts.files())},
        {"valid_sources", valid_texts ? names(valid_texts->files()) : std::vector<std::string>()},
        {"valid_fraction", valid_texts ? 0.0 : options_.valid_fraction},
        {"vocabulary", report.vocabulary},
        {"train",
         {{"documents", report.train_documents}, {"tokens", report.train_tokens}, {"shards", train_.shards()}}},
        {"valid",
         {{"documents", report.valid_documents}, {"tokens", report.valid_tokens}, {"shards", valid_.shards()}}},
        {"unigram_entropy", report.unigram_entropy}};
    GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/tokenizer.json", tokenizer_.ToJson()));
    GROVE_RETURN_IF_ERROR(WriteTextFile(options_.output + "/data.json", json.dump(2) + "\n"));
    return report;
  }

  const PackOptions& options_;
  const double held_out_;
  uint64_t lowest_lot_ = kLots;
  const Tokenizer tokenizer_;
  const std::function<void(double, uint64_t)>& progress_;
  bool prepared_ = false, folder_is_new_ = false;
  ThreadPool pool_;
  ShardWriter train_, valid_;
  uint64_t bytes_total_ = 0, bytes_before_ = 0;
};

}  // namespace

Result<PackReport> PackText(const PackOptions& options, const std::function<void(double, uint64_t)>& progress) {
  GROVE_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(options.tokenizer));
  Packer packer(options, std::move(tokenizer), options.valid_fraction * static_cast<double>(kLots), progress);
  Result<PackReport> report = packer.Run();
  const bool wants_some = options.valid_texts.empty() && options.valid_fraction > 0;
  if (!report.ok() || !wants_some || report.value().valid_documents > 0 || report.value().train_documents < 2) {
    return report;
  }
  // Of few documents none may be drawn: then the one with the lowest lot is.
  GROVE_ASSIGN_OR_RETURN(Tokenizer again, Tokenizer::Load(options.tokenizer));
  return Packer(options, std::move(again), static_cast<double>(packer.lowest_lot() + 1), progress).Run();
}

}  // namespace grove
