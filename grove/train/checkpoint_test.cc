// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "grove/io/files.h"
#include "grove/train/run_log.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;

class Checkpoint : public testing::Test {
 protected:
  std::string PathOf(int64_t step) const {
    return folder_.path() + "/checkpoint-00000000" + std::to_string(step) + ".safetensors";
  }
  // Saves step `step` with every parameter equal to it.
  void Save(int64_t step, int64_t keep = 2) {
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : model_.parameters()) parameter.fill_(static_cast<double>(step));
    const Status saved = SaveCheckpoint(folder_.path(), model_, optimizer_,
                                        {{step, 10 * step, 2 * step, 0.1 * step}, 77, 1.5, 3, "{}"}, keep);
    ASSERT_TRUE(saved.ok()) << saved.error().message();
  }
  Result<std::optional<CheckpointState>> Load() {
    warnings_.clear();
    return LoadNewestCheckpoint(folder_.path(), model_, optimizer_, &warnings_);
  }
  // Flips one bit of the file.
  static void Damage(const std::string& path, int64_t offset_from_end) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(-offset_from_end, std::ios::end);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(-offset_from_end, std::ios::end);
    file.put(byte);
  }

  test::TemporaryFolder folder_;
  torch::nn::LinearImpl model_{3, 4};
  AdamW optimizer_{model_, {}};
  std::vector<std::string> warnings_;
};

TEST_F(Checkpoint, RestoresEverything) {
  optimizer_.moments().at("weight").first.fill_(2.5);
  optimizer_.moments().at("bias").second.fill_(0.125);
  Save(3);
  optimizer_.moments().at("weight").first.zero_();
  optimizer_.moments().at("bias").second.zero_();
  const torch::NoGradGuard no_grad;
  model_.weight.zero_();
  auto state = Load();
  ASSERT_TRUE(state.ok()) << state.error().message();
  ASSERT_TRUE(state.value().has_value());
  EXPECT_EQ(state.value()->progress.step, 3);
  EXPECT_EQ(state.value()->progress.tokens, 30);
  EXPECT_EQ(state.value()->progress.sequences, 6);
  EXPECT_EQ(state.value()->progress.seconds, 0.1 * 3);  // exactly
  EXPECT_EQ(state.value()->log_bytes, 77);
  EXPECT_EQ(state.value()->loss_sum, 1.5);
  EXPECT_EQ(state.value()->loss_steps, 3);
  EXPECT_EQ(optimizer_.steps(), 3);
  EXPECT_EQ(model_.weight.sum().item<float>(), 3 * 12);
  EXPECT_EQ(optimizer_.moments().at("weight").first.sum().item<float>(), 2.5 * 12);
  EXPECT_EQ(optimizer_.moments().at("bias").second.sum().item<float>(), 0.125 * 4);
}

TEST_F(Checkpoint, KeepsTheNewestAndRemovesLeftovers) {
  std::ofstream(folder_.path() + "/checkpoint-000000001.safetensors.tmp-1-0") << "half";
  for (int64_t step = 1; step <= 4; ++step) Save(step);
  EXPECT_FALSE(fs::exists(PathOf(2)));
  EXPECT_TRUE(fs::exists(PathOf(3)));
  EXPECT_TRUE(fs::exists(PathOf(4)));
  EXPECT_FALSE(fs::exists(folder_.path() + "/checkpoint-000000001.safetensors.tmp-1-0"));
}

TEST_F(Checkpoint, ADamagedOneFallsBackToTheOneBefore) {
  for (const int64_t offset : {1, 30, 100, 400}) {  // data, and the header with its metadata
    Save(1);
    Save(2);
    Damage(PathOf(2), offset);
    auto state = Load();
    ASSERT_TRUE(state.ok()) << state.error().message();
    EXPECT_EQ(state.value()->progress.step, 1);
    EXPECT_EQ(model_.weight.sum().item<float>(), 12);
    ASSERT_EQ(warnings_.size(), 1u);
    EXPECT_NE(warnings_[0].find("checkpoint-000000002"), std::string::npos) << warnings_[0];
  }
}

TEST_F(Checkpoint, ATruncatedOneFallsBackToo) {
  Save(1);
  Save(2);
  for (auto size = fs::file_size(PathOf(2)); size > 0; size /= 2) {
    fs::resize_file(PathOf(2), size - 1);
    auto state = Load();
    ASSERT_TRUE(state.ok());
    EXPECT_EQ(state.value()->progress.step, 1);
  }
}

TEST_F(Checkpoint, NoneIsNoErrorButNoIntactOneIs) {
  auto none = Load();
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none.value().has_value());
  Save(1);
  Damage(PathOf(1), 1);
  EXPECT_FALSE(Load().ok());
}

TEST_F(Checkpoint, OfAnotherModelIsRefused) {
  Save(1);
  torch::nn::LinearImpl other(5, 4);
  AdamW optimizer(other, {});
  const auto state = LoadNewestCheckpoint(folder_.path(), other, optimizer, &warnings_);
  ASSERT_FALSE(state.ok());
  EXPECT_NE(state.error().message().find("another model"), std::string::npos) << state.error().message();
}

TEST(RunLog, IsCutBackAndLocked) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() + "/log.jsonl";
  {
    auto log = RunLog::Open(path);
    ASSERT_TRUE(log.ok());
    ASSERT_TRUE(log.value().Write({{"step", 1}}).ok());
    const auto size = log.value().Sync();
    ASSERT_TRUE(size.ok());
    ASSERT_TRUE(log.value().Write({{"step", 2}}).ok());
    EXPECT_FALSE(RunLog::Open(path).ok());  // in use
    ASSERT_TRUE(log.value().CutTo(size.value()).ok());
    ASSERT_TRUE(log.value().Write({{"step", 3}}).ok());
  }
  EXPECT_TRUE(RunLog::Open(path).ok());
  EXPECT_EQ(ReadTextFile(path).value(), "{\"step\":1}\n{\"step\":3}\n");
}

}  // namespace
}  // namespace grove::train
