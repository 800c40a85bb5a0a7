// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove-train tokenizer: learn a WordPiece vocabulary and write tokenizer.json.
#include "cli/output.h"
#include "cli/verbs.h"
#include "grove/data/text_reader.h"
#include "grove/io/files.h"
#include "grove/text/wordpiece_trainer.h"

namespace grove::cli {
namespace {

class TokenizerVerb : public Verb {
 public:
  TokenizerVerb()
      : Verb({.name = "tokenizer",
              .summary = "Learn a WordPiece vocabulary from text and write tokenizer.json",
              .example = "grove-train tokenizer --text train.txt.zst --vocabulary-size 8192 --output tokenizer.json"}) {
  }

  void Declare(CLI::App& app) override {
    app.add_option("--text", texts_, "Text files or folders: .txt or .jsonl, plain or .zst")->required();
    app.add_option("--field", field_, "Of a .jsonl object: the key of its text")->capture_default_str();
    app.add_option("--output", output_, "tokenizer.json to write")->required();
    app.add_option("--vocabulary-size", options_.vocabulary_size, "Word pieces, special tokens counted (default 8192)")
        ->check(CLI::Range(size_t{6}, size_t{1} << 22));
    app.add_option("--min-frequency", options_.min_frequency, "Pairs seen less often are not merged (default 2)")
        ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40));
    app.add_option("--max-alphabet", options_.max_alphabet, "Most frequent characters kept (default 1000)")
        ->check(CLI::Range(size_t{1}, size_t{1} << 20));
    app.add_flag("--cased", cased_, "Keep upper case and accents");
  }

  Status Run(const CommonOptions& common) override {
    options_.tokenizer.lowercase = !cased_;
    WordPieceTrainer trainer(options_);
    for (const std::string& text : texts_) GROVE_RETURN_IF_ERROR(CheckKeepsInput(output_, text, "--text"));
    GROVE_ASSIGN_OR_RETURN(TextReader reader, TextReader::Open(texts_, {field_}));
    Progress progress("tokenizer");
    GROVE_RETURN_IF_ERROR(CountWords(reader, trainer, progress));
    const auto merged = [&](size_t size) {
      progress.Update(0.5 + 0.5 * static_cast<double>(size) / static_cast<double>(options_.vocabulary_size),
                      fmt::format("{} word pieces", CountText(static_cast<int64_t>(size))));
    };
    Result<Tokenizer> tokenizer = trainer.Train(merged);
    if (!tokenizer.ok()) {
      return Error(tokenizer.error().code(),
                   fmt::format("{}: {}", reader.files().front(), tokenizer.error().message()));
    }
    GROVE_RETURN_IF_ERROR(WriteTextFile(output_, tokenizer.value().ToJson()));
    const size_t size = tokenizer.value().vocabulary_size();
    if (common.json) {
      PrintJson({{"output", output_}, {"vocabulary_size", size}, {"words", trainer.words()}});
    } else {
      Print("{}: {} word pieces learnt from {} words\n", output_, CountText(static_cast<int64_t>(size)),
            CountText(static_cast<int64_t>(trainer.words())));
    }
    return Ok{};
  }

 private:
  static Status CountWords(TextReader& reader, WordPieceTrainer& trainer, Progress& progress) {
    for (std::string document;;) {
      GROVE_ASSIGN_OR_RETURN(const bool more, reader.Next(&document));
      if (!more) return Ok{};
      const Status added = trainer.Add(document);
      if (!added.ok())
        return Error(added.error().code(), fmt::format("{}: {}", reader.file(), added.error().message()));
      progress.Update(0.5 * static_cast<double>(reader.bytes_read()) / static_cast<double>(reader.bytes_total()),
                      fmt::format("{} words counted", CountText(static_cast<int64_t>(trainer.words()))));
    }
  }

  std::vector<std::string> texts_;
  std::string output_, field_ = "text";
  WordPieceTrainerOptions options_;
  bool cased_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeTokenizerVerb() { return std::make_unique<TokenizerVerb>(); }

}  // namespace grove::cli
