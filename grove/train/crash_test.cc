// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Checkpoints under fire: a run killed fifty times at random moments, and a disk that fills up. After each blow the
// newest checkpoint is whole and no more than one interval is lost.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "grove/base/clock.h"
#include "grove/io/files.h"
#include "grove/io/safetensors.h"
#include "grove/train/packed_text_for_test.h"
#include "grove/train/pretrain.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kInterval = 4;  // steps between checkpoints

class CrashTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(WritePackedText(folder_.path() + "/data")); }

  PretrainOptions Options(int64_t steps) const {
    PretrainOptions options;
    options.data = folder_.path() + "/data";
    options.output = folder_.path() + "/run";
    options.layers = 1;
    options.width = 16;
    options.heads = 2;
    options.length = 16;
    options.depth = 2;
    options.leaf_width = 4;
    options.batch = 2;
    options.steps = steps;
    options.log_every = 1;
    options.validate_every = 0;
    options.validation_sequences = 2;
    options.checkpoint_every = kInterval;
    options.device = "cpu";
    return options;
  }
  std::string Checkpoints() const { return folder_.path() + "/run/checkpoints"; }

  // body() in a child process, which ends with what it returns.
  static pid_t Start(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) _exit(body());
    return child;
  }
  static int Wait(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  // 0: finished or stopped; 1: an error, which `said` gets.
  static int Train(const PretrainOptions& options, const PretrainContext& context, std::string* said = nullptr) {
    const auto summary = Pretrain(options, context);
    if (!summary.ok() && said != nullptr) *said = summary.error().message();
    return summary.ok() ? 0 : 1;
  }

  // The step of the newest checkpoint, which must be readable; -1 if there is none.
  int64_t NewestStep() const {
    std::string newest;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(Checkpoints(), error)) {
      const std::string path = entry.path().string();
      if (path.ends_with(".safetensors")) newest = std::max(newest, path);
    }
    if (newest.empty()) return -1;
    const auto file = SafetensorsFile::Open(newest);  // compares the checksum
    EXPECT_TRUE(file.ok()) << file.error().message();
    return file.ok() ? std::stoll(file.value().metadata().at("step")) : -1;
  }
  // The last step that the log has a whole line of; 0 if none.
  int64_t LoggedStep() const {
    const auto text = ReadTextFile(folder_.path() + "/run/log.jsonl");
    if (!text.ok()) return 0;
    const size_t end = text.value().rfind('\n');
    if (end == std::string::npos) return 0;
    static constexpr std::string_view kStep = "{\"event\":\"step\",\"step\":";
    const size_t at = text.value().rfind(kStep, end);
    return at == std::string::npos ? 0 : std::stoll(text.value().substr(at + kStep.size()));
  }

  test::TemporaryFolder folder_;
};

TEST_F(CrashTest, FiftyKillsLoseNoMoreThanAnInterval) {
  std::mt19937 random(20231118);
  int kills = 0, during_a_checkpoint = 0;
  const double deadline = NowSeconds() + 240;
  for (int64_t steps = 0; kills < 50 && NowSeconds() < deadline;) {
    const int64_t before = NewestStep();
    const pid_t run = Start([&] { return Train(Options(1'000'000), {.resume = true}); });
    // Most of the time goes into starting and into writing checkpoints: wait for the first step, then for a random
    // while.
    const std::string log = folder_.path() + "/run/log.jsonl";
    while (LoggedStep() <= std::max<int64_t>(before, 0) && NowSeconds() < deadline) {
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
    kill(run, SIGKILL);
    ASSERT_EQ(Wait(run), 128 + SIGKILL);
    ++kills;
    steps = LoggedStep();
    const int64_t kept = NewestStep();
    EXPECT_GE(kept, before);
    EXPECT_LE(steps - std::max<int64_t>(kept, 0), kInterval) << "after kill " << kills;
    for (const auto& entry : fs::directory_iterator(Checkpoints())) {
      if (entry.path().string().find(".tmp-") != std::string::npos) ++during_a_checkpoint;
    }
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_EQ(kills, 50);
  EXPECT_GT(NewestStep(), kInterval);
  RecordProperty("kills_while_writing_a_checkpoint", during_a_checkpoint);
  // It still runs to an end, and clears up what the kills left.
  ASSERT_EQ(Wait(Start([&] { return Train(Options(NewestStep() + 2 * kInterval), {.resume = true}); })), 0);
  EXPECT_TRUE(fs::exists(folder_.path() + "/run/config.json"));
  for (const auto& entry : fs::directory_iterator(Checkpoints())) {
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
  }
}

// Stops after ten steps, then goes on where nothing more can be written, then where it can again.
void FillUp(const std::function<int(bool full)>& go_on, const std::function<int64_t()>& newest) {
  const int64_t before = newest();
  EXPECT_GT(before, 0);
  EXPECT_EQ(go_on(true), 1);
  EXPECT_EQ(newest(), before);  // readable, and nothing lost but the steps since
  EXPECT_EQ(go_on(false), 0);
}

TEST_F(CrashTest, AFileThatMayNotGrowLeavesTheLastCheckpoint) {
  ASSERT_EQ(Wait(Start([&] { return Train(Options(10), {}); })), 0);
  fs::remove(folder_.path() + "/run/config.json");
  const auto size = fs::file_size(Checkpoints() + "/checkpoint-000000010.safetensors");
  for (const auto limit : {size / 2, size - 1}) {
    const auto go_on = [&](bool full) {
      return Wait(Start([&] {
        signal(SIGXFSZ, SIG_IGN);
        const rlimit most{limit, limit};
        if (full && setrlimit(RLIMIT_FSIZE, &most) != 0) return 2;
        std::string said;
        const int code = Train(Options(full ? 1000 : NewestStep() + 1), {.resume = true}, &said);
        return full && said.find("checkpoint-") == std::string::npos ? 3 : code;
      }));
    };
    FillUp(go_on, [&] { return NewestStep(); });
    fs::remove(folder_.path() + "/run/config.json");
  }
}

// A small file system of this test's own; only where the system lets a process mount one.
TEST_F(CrashTest, AFullDiskLeavesTheLastCheckpoint) {
  constexpr int kNoMount = 77;
  const std::string run = folder_.path() + "/run", filler = run + "/filler";
  const int code = Wait(Start([&] {
    fs::create_directories(run);
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", run.c_str(), "tmpfs", 0, "size=2m") != 0) {
      return kNoMount;
    }
    if (Wait(Start([&] { return Train(Options(10), {}); })) != 0) return 2;
    fs::remove(run + "/config.json");
    const auto go_on = [&](bool full) {
      if (full) {
        std::ofstream file(filler, std::ios::binary);
        while (file.write(std::string(4096, 'x').data(), 4096) && file.flush()) {
        }
      } else {
        fs::remove(filler);
      }
      return Wait(Start([&] {
        std::string said;
        const int result = Train(Options(full ? 1000 : NewestStep() + 1), {.resume = true}, &said);
        return full && said.find("No space left") == std::string::npos ? 3 : result;
      }));
    };
    FillUp(go_on, [&] { return NewestStep(); });
    return testing::Test::HasFailure() ? 1 : 0;
  }));
  if (code == kNoMount) GTEST_SKIP() << "this system lets nobody mount a small file system";
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace grove::train
