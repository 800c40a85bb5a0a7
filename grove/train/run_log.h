// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// log.jsonl of a run: one JSON object a line, written when it happens. A resumed run cuts the log back to its
// checkpoint, so that no step occurs twice. The open log is locked: a folder has one run at a time.
// What the lines hold is passed on to TensorBoard (tensorboard.h), if asked for.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "grove/base/result.h"
#include "grove/train/tensorboard.h"

namespace grove::train {

class RunLog {
 public:
  // Opens or creates `path`, without changing what it holds. An error if another process has it open. `tensorboard`
  // names the folder of the event file; empty: none is written.
  static Result<RunLog> Open(const std::string& path, std::string tensorboard = "");
  RunLog(RunLog&& other) noexcept;
  RunLog& operator=(RunLog&&) = delete;
  ~RunLog();

  // Shortens the log and writes the event file again from what is left. Call this before the first Write().
  Status CutTo(int64_t bytes);
  Status Write(const nlohmann::ordered_json& line);
  // Bytes written so far, all of them on the disk.
  Result<int64_t> Sync();

 private:
  RunLog(int fd, std::string path, std::string tensorboard)
      : fd_(fd), path_(std::move(path)), tensorboard_folder_(std::move(tensorboard)) {}
  Error Failed(const char* what) const;
  int fd_;
  std::string path_, tensorboard_folder_;
  std::optional<TensorBoard> tensorboard_;
};

}  // namespace grove::train
