// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Whole files: mapped for reading, and written so that a reader sees the old file or the new one, never a part.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "grove/base/result.h"

namespace grove {

// A file mapped read-only; the bytes live as long as this object. An empty file is valid and has no bytes.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Says that `part` of the bytes is not read soon: its whole pages leave this process's memory (not the system's cache
  // of the file) and come back when they are read again.
  void Release(std::span<const std::byte> part) const;

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

Result<std::string> ReadTextFile(const std::string& path);

// Writes to a temporary file in the same folder, flushes it to the disk, renames it over `path` and flushes the folder.
// A failure or a kill at any moment leaves `path` as it was; an error removes the temporary file.
class AtomicFile {
 public:
  static Result<AtomicFile> Create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();  // without Commit(): the temporary file is removed

  Status Write(std::span<const std::byte> bytes);
  Status Write(std::string_view text) { return Write(std::as_bytes(std::span(text))); }
  Status Commit();

 private:
  AtomicFile(int fd, std::string path, std::string temporary);
  int fd_;
  std::string path_, temporary_;
};

// Unlinks the temporary files of every AtomicFile of this process. For a signal handler that then ends the process
// (async-signal-safe); each of those files fails from here on.
void RemoveTemporaryFiles();

Status WriteTextFile(const std::string& path, std::string_view text);

// An error if `output`, which is to be written, is the file or folder of `input`, which the option `option` names and
// which would be lost. Either may be empty or missing.
Status CheckKeepsInput(const std::string& output, const std::string& input, std::string_view option);

// Removes a folder and all that is in it; links in it are removed, not followed. One that does not exist is no error.
// (Not std::filesystem::remove_all: where LibTorch is the wheel, its libraries shadow half of it with an older build,
// and the call crashes.)
Status RemoveFolder(const std::string& path);

}  // namespace grove
