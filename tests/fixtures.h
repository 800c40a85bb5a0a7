// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Where the golden files are: the folder GROVE_FIXTURES names, else ../shared/fixtures beside the source. Tests are
// instantiated over the files found when they run, so that another folder of the same structure gives other tests:
//
//   class TreeFixture : public testing::TestWithParam<std::string> {};
//   TEST_P(TreeFixture, Forward) { GROVE_FIXTURE_OR_SKIP(GetParam()); ... read the file GetParam() ... }
//   INSTANTIATE_TEST_SUITE_P(Files, TreeFixture, testing::ValuesIn(grove::test::FixtureFiles("fff", "tree_",
//                            ".safetensors")), grove::test::FixtureName);
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace grove::test {

// The value of GROVE_FIXTURES, or empty.
inline std::string NamedFolder() {
  const char* named = std::getenv("GROVE_FIXTURES");
  return named != nullptr ? named : "";
}

inline std::string FixtureFolder() {
  const std::string named = NamedFolder();
  return named.empty() ? GROVE_SOURCE_DIR "/../shared/fixtures" : named;
}

// What stands in for a file where none was found; GROVE_FIXTURE_OR_SKIP recognizes it.
inline constexpr char kNoFixture[] = "no fixture: ";

// Full paths, sorted, of the files or folders `subfolder`/`prefix`*`suffix`. None found: one entry that makes the test
// fail, or skip where the default folder is not there at all.
inline std::vector<std::string> FixtureFiles(const std::string& subfolder, const std::string& prefix,
                                             const std::string& suffix) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(FixtureFolder() + "/" + subfolder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(suffix)) found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) found.push_back(kNoFixture + FixtureFolder() + "/" + subfolder + "/" + prefix + "*" + suffix);
  return found;
}

// The test's name: the file's name without its folder and extension.
inline std::string FixtureName(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param.starts_with(kNoFixture) ? "none" : std::filesystem::path(info.param).stem().string();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

inline bool DefaultFolderIsMissing() {
  std::error_code error;
  return NamedFolder().empty() && !std::filesystem::exists(FixtureFolder(), error);
}

}  // namespace grove::test

// First statement of every test that takes a fixture.
#define GROVE_FIXTURE_OR_SKIP(path)                                                                        \
  do {                                                                                                     \
    if ((path).starts_with(::grove::test::kNoFixture)) {                                                   \
      if (::grove::test::DefaultFolderIsMissing()) {                                                       \
        GTEST_SKIP() << "no golden files at " << ::grove::test::FixtureFolder() << "; set GROVE_FIXTURES"; \
      }                                                                                                    \
      FAIL() << (path);                                                                                    \
    }                                                                                                      \
  } while (false)
