// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove forward: one batch of token ids from a file, logits and hidden states to another.
#include "cli/output.h"
#include "cli/precision_flag.h"
#include "cli/verbs.h"
#include "grove/io/files.h"
#include "grove/model/forward_file.h"

namespace grove::cli {
namespace {

class ForwardVerb : public Verb {
 public:
  ForwardVerb()
      : Verb({.name = "forward",
              .summary = "Run a batch of token ids from a safetensors file and write logits and hidden states",
              .example = "grove forward --model models/small-leaf-tree --input batch.safetensors --output "
                         "out.safetensors"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--model", model_, "Model directory")->required()->type_name("DIR");
    app.add_option(
           "--input", input_,
           "safetensors file with input_ids [batch, length] and, if there is padding, "
           "attention_mask (1 token, 0 padding) and token_type_ids (second text of a pair: 1) of the same shape")
        ->required()
        ->type_name("FILE");
    app.add_option(
           "--output", output_,
           "safetensors file to write: hidden, logits of the model's head, pooler_output of a BERT without one; fp32")
        ->required()
        ->type_name("FILE");
    AddPrecision(app, precision_);
  }

  Status Run(const CommonOptions& common) override {
    GROVE_RETURN_IF_ERROR(CheckKeepsInput(output_, input_, "--input"));
    GROVE_RETURN_IF_ERROR(CheckKeepsInput(output_, model_ + "/model.safetensors", "--model"));
    ThreadPool pool(common.threads);
    GROVE_ASSIGN_OR_RETURN(const LoadedModel model,
                           LoadModel(model_, &pool, {.tokenizer = false, .encoder = {.precision = precision_}}));
    GROVE_ASSIGN_OR_RETURN(const ForwardFileReport report, ForwardFile(model, input_, output_));
    if (common.json) {
      PrintJson({{"output", output_}, {"tensors", report}});
    } else {
      std::vector<std::string> tensors;
      for (const auto& [name, shape] : report) tensors.push_back(name + " " + ShapeText(shape));
      Print("{}: {}\n", output_, fmt::join(tensors, ", "));
    }
    return Ok{};
  }

 private:
  std::string model_, input_, output_;
  std::optional<Precision> precision_;
};

}  // namespace

std::unique_ptr<Verb> MakeForwardVerb() { return std::make_unique<ForwardVerb>(); }

}  // namespace grove::cli
