// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/files.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "grove/base/check.h"

namespace grove {
namespace {

Error SystemError(const std::string& action, const std::string& path, int error) {
  const ErrorCode code = error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
  return Error(code, "cannot " + action + " " + path + ": " + std::generic_category().message(error));
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A name that no other writer of this file, here or in another process, uses.
std::string TemporaryName(const std::string& path) {
  static std::atomic<unsigned> counter{0};
  return path + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
}

// Names that RemoveTemporaryFiles() unlinks. Plain memory, because a signal handler may read it at any moment; a file
// beyond the last slot is only not cleaned up.
struct TemporarySlot {
  std::atomic<int> state{0};  // 0 free, 1 being changed, 2 a name
  char name[1024];
};
TemporarySlot temporary_slots[16];

void Register(const std::string& name) {
  if (name.size() >= sizeof(TemporarySlot::name)) return;
  for (TemporarySlot& slot : temporary_slots) {
    int expected = 0;
    if (!slot.state.compare_exchange_strong(expected, 1)) continue;
    std::memcpy(slot.name, name.c_str(), name.size() + 1);
    slot.state = 2;
    return;
  }
}

void Unregister(const std::string& name) {
  for (TemporarySlot& slot : temporary_slots) {
    int expected = 2;
    if (!slot.state.compare_exchange_strong(expected, 1)) continue;
    slot.state = name == slot.name ? 0 : 2;
  }
}

Status SyncFolder(const std::string& path) {
  const int fd = open(FolderOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError("open the folder of", path, errno);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  // Some file systems cannot flush a folder; the rename itself is done by then.
  if (result != 0 && error != EINVAL && error != EROFS) return SystemError("flush the folder of", path, error);
  return Ok{};
}

}  // namespace

Result<MappedFile> MappedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return SystemError("open", path, errno);
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return Error(ErrorCode::kInvalidArgument, path + " is not a regular file; name a file");
  }
  const size_t size = static_cast<size_t>(info.st_size);
  void* data = nullptr;
  if (size != 0) data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  close(fd);
  if (data == MAP_FAILED) return SystemError("map", path, error);
  return MappedFile(static_cast<const std::byte*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::Release(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(part.data());
  const uintptr_t first = (begin + page - 1) / page * page, last = (begin + part.size()) / page * page;
  if (first >= last) return;
  static_cast<void>(madvise(const_cast<std::byte*>(part.data()) + (first - begin), last - first, MADV_DONTNEED));
}

Result<std::string> ReadTextFile(const std::string& path) {
  GROVE_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

AtomicFile::AtomicFile(int fd, std::string path, std::string temporary)
    : fd_(fd), path_(std::move(path)), temporary_(std::move(temporary)) {}

Result<AtomicFile> AtomicFile::Create(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return Error(ErrorCode::kInvalidArgument, path + " exists and is not a regular file; name another output file");
  }
  // A file without a name disappears when its process is killed. Where the file system has none, a named one it is.
  int fd = open(FolderOf(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (fd >= 0) return AtomicFile(fd, path, "");
  const std::string temporary = TemporaryName(path);
  fd = open(temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
  if (fd < 0) return SystemError("write", path, errno);
  Register(temporary);
  return AtomicFile(fd, path, temporary);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), temporary_(std::move(other.temporary_)) {
  other.temporary_.clear();
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) close(fd_);
  if (temporary_.empty()) return;
  unlink(temporary_.c_str());
  Unregister(temporary_);
}

Status AtomicFile::Write(std::span<const std::byte> bytes) {
  GROVE_CHECK(fd_ >= 0);
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("write", path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return Ok{};
}

Status AtomicFile::Commit() {
  GROVE_CHECK(fd_ >= 0);
  if (fsync(fd_) != 0) return SystemError("flush", path_, errno);
  if (temporary_.empty()) {  // rename needs a name
    const std::string name = TemporaryName(path_);
    const std::string self = "/proc/self/fd/" + std::to_string(fd_);
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      return SystemError("write", path_, errno);
    }
    temporary_ = name;
    Register(temporary_);
  }
  if (close(std::exchange(fd_, -1)) != 0) return SystemError("write", path_, errno);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return SystemError("write", path_, errno);
  Unregister(std::exchange(temporary_, ""));
  return SyncFolder(path_);
}

void RemoveTemporaryFiles() {
  for (TemporarySlot& slot : temporary_slots) {
    if (slot.state == 2) unlink(slot.name);
  }
}

Status WriteTextFile(const std::string& path, std::string_view text) {
  GROVE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  GROVE_RETURN_IF_ERROR(file.Write(text));
  return file.Commit();
}

Status CheckKeepsInput(const std::string& output, const std::string& input, std::string_view option) {
  std::error_code error;
  if (!std::filesystem::equivalent(output, input, error)) return Ok{};
  return Error(ErrorCode::kInvalidArgument, "--output is what " + std::string(option) + " names; choose another one");
}

Status RemoveFolder(const std::string& path) {
  const auto remove_entry = [](const char* entry, const struct stat*, int, struct FTW*) { return remove(entry); };
  constexpr int kOpenFolders = 16;
  if (nftw(path.c_str(), remove_entry, kOpenFolders, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT) return Ok{};
  return SystemError("remove", path, errno);
}

}  // namespace grove
