// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove tokenize: ids, tokens and offsets of texts.
#include "cli/input.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace grove::cli {
namespace {

class TokenizeVerb : public Verb {
 public:
  TokenizeVerb()
      : Verb({.name = "tokenize",
              .summary = "Show the tokens of texts with their ids and offsets",
              .example = "grove tokenize --model models/small-leaf-tree \"The quick brown fox.\"\n"
                         "grove tokenize --tokenizer vocab.txt --json --pair \"How are you?\" \"Fine.\""}) {}

  void Declare(CLI::App& app) override {
    auto* model = app.add_option("--model", model_, "Model directory whose tokenizer is used")->type_name("DIR");
    app.add_option("--tokenizer", tokenizer_, "tokenizer.json or vocab.txt")->excludes(model)->type_name("FILE");
    app.add_flag("--pair", pair_, "Encode the two texts given as one pair");
    app.add_option("--max-length", max_length_, "Truncate to this many tokens, special tokens counted (0: do not)")
        ->check(CLI::Range(size_t{0}, size_t{1} << 30))
        ->type_name("N");
    app.add_flag("--no-special-tokens", no_special_tokens_, "Leave out [CLS] and [SEP]");
    AddTexts(app, texts_, "Texts");
  }

  Status Check() override {
    if (model_.empty() && tokenizer_.empty()) {
      return Error(ErrorCode::kInvalidArgument, "give --model or --tokenizer");
    }
    if (pair_ && texts_.size() != 2) {
      return Error(ErrorCode::kInvalidArgument, fmt::format("--pair needs two texts and got {}", texts_.size()));
    }
    return Ok{};
  }

  Status Run(const CommonOptions& common) override {
    GROVE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, OpenTokenizer(tokenizer_, model_));
    GROVE_ASSIGN_OR_RETURN(const std::vector<std::string> texts, TextsOrStdin(texts_));
    const EncodeOptions options{.add_special_tokens = !no_special_tokens_, .max_length = max_length_};
    std::vector<Encoding> encodings;
    if (pair_) {
      GROVE_ASSIGN_OR_RETURN(Encoding encoding, tokenizer.EncodePair(texts[0], texts[1], options));
      encodings.push_back(std::move(encoding));
    } else {
      for (const std::string& text : texts) {
        GROVE_ASSIGN_OR_RETURN(Encoding encoding, tokenizer.Encode(text, options));
        encodings.push_back(std::move(encoding));
      }
    }
    common.json ? PrintAsJson(tokenizer, encodings) : PrintAsTables(tokenizer, encodings);
    return Ok{};
  }

 private:
  static void PrintAsJson(const Tokenizer& tokenizer, const std::vector<Encoding>& encodings) {
    Json all = Json::array();
    for (const Encoding& encoding : encodings) {
      Json tokens = Json::array(), offsets = Json::array();
      for (size_t i = 0; i < encoding.ids.size(); ++i) {
        tokens.push_back(tokenizer.Token(encoding.ids[i]));
        offsets.push_back({encoding.offsets[i].begin, encoding.offsets[i].end});
      }
      all.push_back({{"ids", encoding.ids}, {"tokens", tokens}, {"type_ids", encoding.type_ids}, {"offsets", offsets}});
    }
    PrintJson({{"encodings", all}});
  }

  static void PrintAsTables(const Tokenizer& tokenizer, const std::vector<Encoding>& encodings) {
    for (size_t e = 0; e < encodings.size(); ++e) {
      const Encoding& encoding = encodings[e];
      Table table({{"token"}, {"id", Align::kRight}, {"text", Align::kRight}, {"characters", Align::kRight}});
      for (size_t i = 0; i < encoding.ids.size(); ++i) {
        table.Add({tokenizer.Token(encoding.ids[i]), std::to_string(encoding.ids[i]),
                   std::to_string(encoding.type_ids[i] + 1),
                   fmt::format("{}-{}", encoding.offsets[i].begin, encoding.offsets[i].end)});
      }
      Print("{}{}", e == 0 ? "" : "\n", table.Text());
    }
  }

  std::string model_, tokenizer_;
  std::vector<std::string> texts_;
  size_t max_length_ = 0;
  bool pair_ = false, no_special_tokens_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeTokenizeVerb() { return std::make_unique<TokenizeVerb>(); }

}  // namespace grove::cli
