// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove fill-mask: the most probable words where a text says [MASK].
#include "grove/model/fill_mask.h"

#include "cli/input.h"
#include "cli/output.h"
#include "cli/precision_flag.h"
#include "cli/verbs.h"

namespace grove::cli {
namespace {

class FillMaskVerb : public Verb {
 public:
  FillMaskVerb()
      : Verb({.name = "fill-mask",
              .summary = "Find the most probable words where a text says [MASK]",
              .example = "grove fill-mask --model models/small-leaf-tree \"Water is made of hydrogen and [MASK].\"\n"
                         "grove fill-mask --model models/small-leaf-tree --top 3 --json < sentences.txt"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--model", model_, "Model directory")->required()->type_name("DIR");
    app.add_option("--top", options_.top, "Words to show for each [MASK]")
        ->check(CLI::Range(size_t{1}, size_t{100000}))
        ->capture_default_str()
        ->type_name("N");
    app.add_flag("--truncate", options_.truncate, "Cut texts at the model's longest input instead of refusing them");
    AddPrecision(app, precision_);
    AddTexts(app, texts_, "Texts with [MASK]");
  }

  Status Run(const CommonOptions& common) override {
    GROVE_ASSIGN_OR_RETURN(const std::vector<std::string> texts, TextsOrStdin(texts_));
    ThreadPool pool(common.threads);
    GROVE_ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(model_, &pool, {.encoder = {.precision = precision_}}));
    GROVE_ASSIGN_OR_RETURN(const std::vector<FilledText> filled, FillMasks(model, texts, options_));
    common.json ? PrintAsJson(texts, filled) : PrintAsText(texts, filled);
    return Ok{};
  }

 private:
  static void PrintAsJson(const std::vector<std::string>& texts, const std::vector<FilledText>& filled) {
    Json results = Json::array();
    for (size_t i = 0; i < filled.size(); ++i) {
      Json masks = Json::array();
      for (const FilledMask& mask : filled[i].masks) {
        Json words = Json::array();
        for (const MaskWord& word : mask.words) {
          words.push_back({{"token", word.token}, {"id", word.id}, {"probability", word.probability}});
        }
        masks.push_back({{"offset", {mask.offset.begin, mask.offset.end}}, {"words", words}});
      }
      results.push_back({{"text", texts[i]}, {"best", filled[i].best}, {"masks", masks}});
    }
    PrintJson({{"results", results}});
  }

  static void PrintAsText(const std::vector<std::string>& texts, const std::vector<FilledText>& filled) {
    for (size_t i = 0; i < filled.size(); ++i) {
      Print("{}{}\n", i == 0 ? "" : "\n", texts[i]);
      for (const FilledMask& mask : filled[i].masks) {
        std::vector<std::string> words;
        for (const MaskWord& word : mask.words) {
          words.push_back(fmt::format("{} {:.1f} %", word.token, 100 * word.probability));
        }
        Print("  {}\n", fmt::join(words, ", "));
      }
      if (filled[i].masks.size() > 1) Print("  {}\n", filled[i].best);
    }
  }

  std::string model_;
  std::vector<std::string> texts_;
  FillMaskOptions options_;
  std::optional<Precision> precision_;
};

}  // namespace

std::unique_ptr<Verb> MakeFillMaskVerb() { return std::make_unique<FillMaskVerb>(); }

}  // namespace grove::cli
