// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/io/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/temporary_folder.h"

namespace grove {
namespace {

namespace fs = std::filesystem;

class FilesTest : public testing::Test {
 protected:
  size_t FilesInFolder() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }
  test::TemporaryFolder folder_;
  std::string path_ = folder_.path() + "/file.txt";
};

TEST_F(FilesTest, WritesAndReadsBack) {
  ASSERT_TRUE(WriteTextFile(path_, "old").ok());
  ASSERT_TRUE(WriteTextFile(path_, "new").ok());
  EXPECT_EQ(ReadTextFile(path_).value(), "new");
  EXPECT_EQ(FilesInFolder(), 1u);
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_NE(info.st_mode & S_IRUSR, 0u);
}

TEST_F(FilesTest, EmptyFileHasNoBytes) {
  ASSERT_TRUE(WriteTextFile(path_, "").ok());
  EXPECT_EQ(ReadTextFile(path_).value(), "");
  EXPECT_EQ(MappedFile::Open(path_).value().bytes().size(), 0u);
}

// Kilobytes of mapped files in this process's memory.
size_t MappedKilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssFile:")) return std::stoul(line.substr(sizeof("RssFile:")));
  }
  return 0;
}

TEST_F(FilesTest, ReleasedBytesLeaveTheMemoryAndComeBack) {
  const std::string text(size_t{16} << 20, 'x');
  ASSERT_TRUE(WriteTextFile(path_, text).ok());
  const MappedFile file = MappedFile::Open(path_).value();
  const auto same = [&] { return std::memcmp(file.bytes().data(), text.data(), text.size()) == 0; };
  const size_t before = MappedKilobytes();
  EXPECT_TRUE(same());
  EXPECT_GE(MappedKilobytes(), before + (15 << 10));
  file.Release(file.bytes().subspan(1, 3));  // within a page: nothing to release
  file.Release(file.bytes().subspan(4097, text.size() - 5000));
  EXPECT_LE(MappedKilobytes(), before + (1 << 10));
  EXPECT_TRUE(same());
  file.Release({});
}

TEST_F(FilesTest, AbandonedWriteLeavesTheOldFile) {
  ASSERT_TRUE(WriteTextFile(path_, "old").ok());
  {
    Result<AtomicFile> file = AtomicFile::Create(path_);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file.value().Write("half of the n").ok());
  }
  EXPECT_EQ(ReadTextFile(path_).value(), "old");
  EXPECT_EQ(FilesInFolder(), 1u);
}

// A full disk, played by a limit on the size of files.
TEST_F(FilesTest, FailedWriteLeavesTheOldFile) {
  ASSERT_TRUE(WriteTextFile(path_, "old").ok());
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status status = WriteTextFile(path_, std::string(1 << 20, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message().find(path_), std::string::npos);
  EXPECT_EQ(ReadTextFile(path_).value(), "old");
  EXPECT_EQ(FilesInFolder(), 1u);
}

TEST_F(FilesTest, AFolderIsRemovedAndWhatItsLinksNameIsKept) {
  const std::string tree = folder_.path() + "/tree";
  ASSERT_TRUE(WriteTextFile(path_, "kept").ok());
  std::filesystem::create_directories(tree + "/a/b");
  ASSERT_TRUE(WriteTextFile(tree + "/a/b/file", "gone").ok());
  std::filesystem::create_symlink(path_, tree + "/link");
  std::filesystem::create_directory_symlink(folder_.path(), tree + "/a/up");
  EXPECT_TRUE(RemoveFolder(tree).ok());
  EXPECT_FALSE(std::filesystem::exists(tree));
  EXPECT_EQ(ReadTextFile(path_).value(), "kept");
  EXPECT_TRUE(RemoveFolder(tree).ok());  // is gone already
}

TEST_F(FilesTest, AnInputIsNoOutput) {
  ASSERT_TRUE(WriteTextFile(path_, "kept").ok());
  fs::create_symlink(path_, folder_.path() + "/link");
  for (const std::string& same : {path_, folder_.path() + "/./file.txt", folder_.path() + "/link"}) {
    const Status refused = CheckKeepsInput(same, path_, "--text");
    ASSERT_FALSE(refused.ok()) << same;
    EXPECT_NE(refused.error().message().find("--text"), std::string::npos);
  }
  EXPECT_TRUE(CheckKeepsInput(folder_.path() + "/other", path_, "--text").ok());
  EXPECT_TRUE(CheckKeepsInput(path_, "", "--text").ok());
  EXPECT_TRUE(CheckKeepsInput("", "", "--text").ok());
}

TEST_F(FilesTest, ErrorsNameThePath) {
  const Error missing = MappedFile::Open(path_).error();
  EXPECT_EQ(missing.code(), ErrorCode::kNotFound);
  EXPECT_NE(missing.message().find(path_), std::string::npos);
  EXPECT_FALSE(MappedFile::Open(folder_.path()).ok());
  EXPECT_FALSE(ReadTextFile("/dev/null").ok());
  EXPECT_FALSE(AtomicFile::Create(folder_.path()).ok());
  EXPECT_FALSE(AtomicFile::Create(folder_.path() + "/no/such/folder").ok());
  EXPECT_FALSE(AtomicFile::Create("/dev/null").ok());
}

}  // namespace
}  // namespace grove
