// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/run_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "grove/io/files.h"

namespace grove::train {

Result<RunLog> RunLog::Open(const std::string& path, std::string tensorboard) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return Error(ErrorCode::kIo, "cannot open " + path + ": " + std::strerror(errno));
  RunLog log(fd, path, std::move(tensorboard));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return Error(ErrorCode::kIo, path + " is in use by another run; wait for it or choose another --output");
  }
  return log;
}

RunLog::RunLog(RunLog&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      tensorboard_folder_(std::move(other.tensorboard_folder_)),
      tensorboard_(std::move(other.tensorboard_)) {}

RunLog::~RunLog() {
  if (fd_ >= 0) close(fd_);
}

Error RunLog::Failed(const char* what) const {
  return Error(ErrorCode::kIo, std::string("cannot ") + what + " " + path_ + ": " + std::strerror(errno));
}

Status RunLog::CutTo(int64_t bytes) {
  if (ftruncate(fd_, bytes) != 0) return Failed("shorten");
  if (tensorboard_folder_.empty()) return Ok{};
  GROVE_ASSIGN_OR_RETURN(TensorBoard tensorboard, TensorBoard::Create(tensorboard_folder_));
  tensorboard_.emplace(std::move(tensorboard));
  GROVE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path_));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_discarded()) GROVE_RETURN_IF_ERROR(tensorboard_->Add(json));
  }
  return Ok{};
}

Status RunLog::Write(const nlohmann::ordered_json& line) {
  const std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  // One write per line: a kill leaves whole lines, except on a full disk.
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = write(fd_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("write to");
    done += static_cast<size_t>(written);
  }
  return tensorboard_ ? tensorboard_->Add(line) : Ok{};
}

Result<int64_t> RunLog::Sync() {
  struct stat info;
  if (fdatasync(fd_) != 0 || fstat(fd_, &info) != 0) return Failed("flush");
  return static_cast<int64_t>(info.st_size);
}

}  // namespace grove::train
