// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove-train data: text to a folder of packed tokens.
#include "cli/output.h"
#include "cli/verbs.h"
#include "grove/data/pack_text.h"

namespace grove::cli {
namespace {

class DataVerb : public Verb {
 public:
  DataVerb()
      : Verb({.name = "data",
              .summary = "Pack text as token ids for training, a part of it held out",
              .example = "grove-train data --text train.txt.zst --valid-text valid.txt.zst --tokenizer tokenizer.json "
                         "--output packed\n"
                         "grove-train data --text corpus/ more.jsonl.zst --valid-fraction 0.02 --tokenizer "
                         "tokenizer.json --output "
                         "packed"}) {}

  void Declare(CLI::App& app) override {
    app.add_option(
           "--text", options_.texts,
           "Text files or folders: .txt (a blank line ends a document) or .jsonl (a document a line), plain or .zst")
        ->required();
    auto* valid = app.add_option("--valid-text", options_.valid_texts, "Held-out text (default: a share of --text)");
    app.add_option("--valid-fraction", options_.valid_fraction,
                   "Share of documents held out, one at least, chosen by a hash of their text (default 0.01)")
        ->check(CLI::Range(0.0, 0.9))
        ->excludes(valid);
    app.add_option("--field", options_.field, "Of a .jsonl object: the key of its text")->capture_default_str();
    app.add_option("--tokenizer", options_.tokenizer, "tokenizer.json or vocab.txt")->required();
    app.add_option("--output", options_.output,
                   "Folder of the packed text; what it holds of an earlier one is replaced")
        ->required();
  }

  Status Run(const CommonOptions& common) override {
    options_.threads = common.threads;
    Progress progress("data");
    GROVE_ASSIGN_OR_RETURN(const PackReport report, PackText(options_, [&](double done, uint64_t tokens) {
                             progress.Update(done, fmt::format("{} tokens", CountText(static_cast<int64_t>(tokens))));
                           }));
    const auto count = [](uint64_t n) { return CountText(static_cast<int64_t>(n)); };
    if (common.json) {
      PrintJson({{"output", options_.output},
                 {"vocabulary_size", report.vocabulary},
                 {"train", {{"documents", report.train_documents}, {"tokens", report.train_tokens}}},
                 {"valid", {{"documents", report.valid_documents}, {"tokens", report.valid_tokens}}},
                 {"unigram_entropy", report.unigram_entropy}});
      return Ok{};
    }
    Print("{}: {} tokens of {} documents to train on, {} tokens of {} documents held out\n", options_.output,
          count(report.train_tokens), count(report.train_documents), count(report.valid_tokens),
          count(report.valid_documents));
    if (report.valid_tokens == 0) {
      Print(
          "Nothing is held out, and nothing can be trained without held-out text: give --valid-text, or text of "
          "several "
          "documents (a blank line ends one).\n");
      return Ok{};
    }
    Print("A model that knows nothing but word frequencies would score {:.3f} nats a token on the held-out text.\n",
          report.unigram_entropy);
    return Ok{};
  }

 private:
  PackOptions options_;
};

}  // namespace

std::unique_ptr<Verb> MakeDataVerb() { return std::make_unique<DataVerb>(); }

}  // namespace grove::cli
