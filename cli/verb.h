// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// What the programs `grove` and `grove-train` share: one class per verb, one file per class, one place that parses,
// prints errors and chooses the exit code.
//
//   class InfoVerb : public Verb {
//    public:
//     InfoVerb() : Verb({.name = "info", .summary = "...", .example = "grove info --model models/small-leaf-tree"}) {}
//     void Declare(CLI::App& app) override { app.add_option("--model", model_, "Model directory"); }
//     Status Run(const CommonOptions& common) override;
//   };
//   std::unique_ptr<Verb> MakeInfoVerb() { return std::make_unique<InfoVerb>(); }  // declared in cli/verbs.h
//
// The contract every verb keeps: the result goes to stdout (with --json as one JSON document, see cli/output.h),
// progress and errors go to stderr, an error is one sentence `grove <verb>: message`, and the exit code is
// 0 (done), 1 (failed), 2 (the command line is wrong) or 128 + n (stopped by signal n, with no half-written file left).
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "grove/base/result.h"

namespace grove::cli {

enum ExitCode { kExitOk = 0, kExitFailed = 1, kExitUsage = 2 };

// Declared for every verb by the framework.
struct CommonOptions {
  size_t threads = 1;   // --threads, default DefaultThreads()
  std::string target;   // --target or GROVE_TARGET; already in force when Run is called
  bool json = false;    // --json
  std::string program;  // "grove" or "grove-train"
};

struct VerbInfo {
  std::string name;     // one word, or two for a verb of a group: "bench layer"
  std::string summary;  // one sentence without a full stop
  std::string example;  // a command line that works; several are separated by newlines
};

class Verb {
 public:
  explicit Verb(VerbInfo info) : info_(std::move(info)) {}
  virtual ~Verb() = default;
  Verb(const Verb&) = delete;
  Verb& operator=(const Verb&) = delete;

  const VerbInfo& info() const { return info_; }

  // Adds this verb's options to its CLI11 app. Ranges are checked there (CLI::Range and the like: exit code 2). Paths
  // are not: a missing file is a failure of Run (exit code 1).
  virtual void Declare(CLI::App& app) = 0;
  // Options that contradict each other, after parsing. An error here is exit code 2.
  virtual Status Check() { return Ok{}; }
  // An error here is exit code 1.
  virtual Status Run(const CommonOptions& common) = 0;

 private:
  VerbInfo info_;
};

using Verbs = std::vector<std::unique_ptr<Verb>>;

// Parses, runs one verb and returns the process's exit code. `purpose` is the first line of `program --help`.
int Main(int argc, char** argv, const std::string& program, const std::string& purpose, const Verbs& verbs);

}  // namespace grove::cli
