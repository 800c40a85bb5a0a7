// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/training_job.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/output.h"
#include "cli/stop_request.h"
#include "grove/base/thread_pool.h"
#include "grove/io/files.h"

namespace grove::cli {

Status PrepareContext(const std::string& verb, const CommonOptions& common, train::PretrainContext* context) {
  GROVE_ASSIGN_OR_RETURN(context->world, train::WorldOfEnvironment());
  context->threads = common.threads;
  // The default is every processor of the machine, which its processes share.
  if (common.threads == DefaultThreads()) {
    context->threads = std::max<size_t>(1, common.threads / static_cast<size_t>(context->world.local_size));
  }
  context->stop = StopRequest::Pending;
  const std::string who = common.program + " " + verb;
  context->on_lost = [who](const std::string& sentence) {
    RemoveTemporaryFiles();
    fmt::print(stderr, "{}: {}\n", who, sentence);
    std::fflush(stderr);
    _exit(kExitFailed);
  };
  return Ok{};
}

void ReportDryRun(const CommonOptions& common, const train::DryRunReport& report) {
  const double flop_per_second = report.flop_per_token * report.tokens_per_second;
  if (common.json) {
    const Json utilization = report.utilization ? Json(*report.utilization) : Json();
    PrintJson({{"parameters", report.parameters},
               {"device", report.device},
               {"steps", report.steps},
               {"tokens", report.tokens},
               {"seconds", report.seconds},
               {"tokens_per_second", report.tokens_per_second},
               {"flop_per_token", report.flop_per_token},
               {"flop_per_second", flop_per_second},
               {"flop_utilization", utilization},
               {"peak_memory_bytes", report.memory_bytes},
               {"memory_of", report.on_gpu ? "gpu" : "host"},
               {"checkpoint_bytes", report.checkpoint_bytes},
               {"step_tokens", report.step_tokens},
               {"step_seconds", report.step_seconds},
               {"measured_share", report.measured_share}});
    return;
  }
  Table table({{"a full run"}, {""}});
  table.Add({"parameters", CountText(report.parameters)});
  table.Add({"device", report.device});
  table.Add({"steps", CountText(report.steps)});
  table.Add({"tokens", CountText(report.tokens)});
  table.Add({"time", SecondsText(report.seconds)});
  table.Add({"speed", fmt::format("{} tokens/s, {:.3g} TFLOP/s",
                                  CountText(static_cast<int64_t>(report.tokens_per_second)), flop_per_second * 1e-12)});
  if (report.utilization) table.Add({"of the GPU's peak", fmt::format("{:.1f} %", 100 * *report.utilization)});
  table.Add({"arithmetic", fmt::format("{:.3g} GFLOP a token", report.flop_per_token * 1e-9)});
  table.Add({report.on_gpu ? "peak memory of the GPU" : "peak memory", BytesText(report.memory_bytes)});
  table.Add({"a checkpoint", BytesText(report.checkpoint_bytes)});
  PrintText(table.Text());
  const std::string part =
      report.measured_share < 1 ? fmt::format(", {:.0f} % of it measured", 100 * report.measured_share) : "";
  Print("Measured on one step of the full batch: {} tokens in {:.2f} s{}. Nothing was written.\n",
        CountText(report.step_tokens), report.step_seconds, part);
}

}  // namespace grove::cli
