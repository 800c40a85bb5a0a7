// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// grove quantize: a model in bf16 or int8, and what that costs it.
#include "cli/output.h"
#include "cli/stop_request.h"
#include "cli/verbs.h"
#include "grove/model/quantize_model.h"

namespace grove::cli {
namespace {

class QuantizeVerb : public Verb {
 public:
  QuantizeVerb()
      : Verb({.name = "quantize",
              .summary = "Write a model with its large matrices in bf16 or int8, and report what that costs",
              .example = "grove quantize my-model --precision int8 --output my-model-int8\n"
                         "grove quantize my-bert --precision int8 --text reviews.txt --output my-bert-int8 --json"}) {}

  void Declare(CLI::App& app) override {
    app.add_option("MODEL,--model", options_.model, "Model directory to read")->required()->type_name("DIR");
    const std::map<std::string, Precision> names = {{"bf16", Precision::kBf16}, {"int8", Precision::kInt8}};
    app.add_option("--precision", options_.precision,
                   "bf16, or int8 with a scale for each output and inputs rounded at run time")
        ->required()
        ->transform(CLI::CheckedTransformer(names))
        ->type_name("NAME");
    app.add_option("--output", options_.output, "Model directory to write")->required()->type_name("DIR");
    auto* data = app.add_option("--data", options_.text.data,
                                "Packed text (grove-train data) whose held-out side the report is measured on")
                     ->type_name("DIR");
    app.add_option("--text", options_.text.texts,
                   "Text files or folders to measure on instead (default: a page that comes with grove)")
        ->type_name("PATH")
        ->excludes(data);
    app.add_option("--sequences", options_.text.sequences, "Sequences to measure on, at most")
        ->check(CLI::Range(size_t{1}, size_t{1} << 20))
        ->capture_default_str()
        ->type_name("N");
    app.add_option("--length", options_.text.length, "Tokens of a sequence, at most")
        ->check(CLI::Range(size_t{3}, size_t{1} << 16))
        ->capture_default_str()
        ->type_name("N");
    app.add_flag("--overwrite", options_.overwrite, "Replace the model that is in --output");
  }

  Status Run(const CommonOptions& common) override {
    ThreadPool pool(common.threads);
    Result<QuantizeReport> report = Error(ErrorCode::kInvalidArgument, "");
    {
      const StopRequest stop;
      Progress progress("quantize");
      report = QuantizeModel(options_, &pool, [&](double done, const std::string& what) {
        progress.Update(done, what);
        return !StopRequest::Pending();
      });
    }
    if (!report.ok() && StopRequest::Pending()) StopRequest::RaiseAgain();
    if (!report.ok()) return report.error();
    if (common.json) {
      PrintJson(Json::parse(QuantizeReportJson(options_, report.value())));
    } else {
      PrintReport(report.value());
    }
    return Ok{};
  }

 private:
  void PrintReport(const QuantizeReport& report) const {
    Print("{}: {} of {} tensors in {}, {} (was {})\n", options_.output, report.matrices, report.tensors,
          PrecisionName(options_.precision), BytesText(report.bytes_after), BytesText(report.bytes_before));
    for (const KeptLayers& kept : report.kept) {
      Print("kept in fp32, as this kind has no other form: {} (layer{} {})\n", kept.feed_forward,
            kept.layers.size() == 1 ? "" : "s", fmt::join(kept.layers, ", "));
    }
    const PrecisionComparison& compared = report.comparison;
    if (compared.sequences == 0) return Print("{}\n", report.text);
    Print("\nAgainst fp32 on {}, {} tokens\n\n", report.text, CountText(static_cast<int64_t>(compared.tokens)));
    Table errors({{"hidden vectors after"}, {"relative error", Align::kRight}});
    const size_t final = compared.hidden_error.size();
    for (size_t i = 0; i < final; ++i) errors.Add({PlaceName(report, i), Percent(compared.hidden_error[i], 2)});
    PrintText(errors.Text());
    if (compared.loss) {
      Print("\nloss of {} masked words: {:.4f} in fp32, {:.4f} in {}: {:+.2f} %\n",
            CountText(static_cast<int64_t>(compared.answers)), compared.loss->fp32, compared.loss->rounded,
            PrecisionName(options_.precision), 100 * compared.loss->relative());
    }
    if (compared.same_answer) {
      Print("{}same most probable answer: {} of {}\n", compared.loss ? "" : "\n", Percent(*compared.same_answer, 1),
            CountText(static_cast<int64_t>(compared.answers)));
    }
    if (compared.answer_error) Print("\nrelative error of the values: {}\n", Percent(*compared.answer_error, 2));
  }

  static std::string PlaceName(const QuantizeReport& report, size_t index) {
    if (index == 0) return "the embedding";
    if (index == report.layers + 1) return "the final norm";
    return "layer " + std::to_string(index);
  }
  static std::string Percent(double share, int digits) { return fmt::format("{:.{}f} %", 100 * share, digits); }

  QuantizeOptions options_;
};

}  // namespace

std::unique_ptr<Verb> MakeQuantizeVerb() { return std::make_unique<QuantizeVerb>(); }

}  // namespace grove::cli
