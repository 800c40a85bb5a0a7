// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove bench rounds: one side of a comparison that a script takes in turns with other systems (bench/peers).
#include <iostream>
#include <string>

#include "cli/output.h"
#include "cli/precision_flag.h"
#include "cli/verbs.h"
#include "grove/base/clock.h"
#include "grove/model/forward_file.h"

namespace grove::cli {
namespace {

class BenchRoundsVerb : public Verb {
 public:
  BenchRoundsVerb()
      : Verb({.name = "bench rounds",
              .summary = "Time a model's encoder once for every line of standard input, for scripts that take turns",
              .example =
                  "yes | head -n 5 | grove bench rounds --model models/small-leaf-tree --input batch.safetensors"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("--model", model_, "Model directory")->required()->type_name("DIR");
    app.add_option("--input", input_, "safetensors file as grove forward reads it")->required()->type_name("FILE");
    app.add_option("--output", output_, "safetensors file to write hidden states to, before the first round")
        ->type_name("FILE");
    AddPrecision(app, precision_);
  }

  // Prints the seconds of each round on a line of its own. Loading and the first, untimed run come before.
  Status Run(const CommonOptions& common) override {
    ThreadPool pool(common.threads);
    GROVE_ASSIGN_OR_RETURN(const Encoder encoder, LoadEncoder(pool));
    GROVE_ASSIGN_OR_RETURN(const FileBatch batch, ReadBatch(input_, encoder.config()));
    Arena arena;
    AlignedArray<float> hidden(batch.ids.size() * static_cast<size_t>(encoder.config().width));
    GROVE_RETURN_IF_ERROR(encoder.Forward(batch.View(), arena, hidden.data()));
    if (!output_.empty()) {
      const Shape shape = {batch.batch, batch.length, encoder.config().width};
      GROVE_RETURN_IF_ERROR(WriteSafetensors(output_, {{"hidden", ViewOf(hidden.span(), shape)}}, {}));
    }
    Json seconds = Json::array();
    for (std::string line; std::getline(std::cin, line);) {
      const double start = NowSeconds();
      GROVE_RETURN_IF_ERROR(encoder.Forward(batch.View(), arena, hidden.data()));
      seconds.push_back(NowSeconds() - start);
      if (!common.json) Print("{:.9f}\n", seconds.back().get<double>());
      if (!common.json) std::fflush(stdout);
    }
    if (common.json) PrintJson({{"seconds", seconds}});
    return Ok{};
  }

 private:
  // The file is mapped no longer than it is read.
  Result<Encoder> LoadEncoder(ThreadPool& pool) const {
    GROVE_ASSIGN_OR_RETURN(const ModelDirectory directory, ModelDirectory::Open(model_));
    return Encoder::Load(directory, &pool, {.precision = precision_});
  }

  std::string model_, input_, output_;
  std::optional<Precision> precision_;
};

}  // namespace

std::unique_ptr<Verb> MakeBenchRoundsVerb() { return std::make_unique<BenchRoundsVerb>(); }

}  // namespace grove::cli
