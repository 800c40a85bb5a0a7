// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Whole runs at a tiny size: to the end, stopped, killed at any moment, resumed. Runs that are killed are child
// processes; this process starts no thread before it forks.
#include "grove/train/pretrain.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "grove/base/clock.h"
#include "grove/io/files.h"
#include "grove/io/model_directory.h"
#include "grove/train/packed_text_for_test.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class PretrainTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(WritePackedText(DataFolder())); }

  std::string DataFolder() const { return folder_.path() + "/data"; }
  std::string Output(const std::string& name) const { return folder_.path() + "/" + name; }

  PretrainOptions Options(const std::string& name) const {
    PretrainOptions options;
    options.data = DataFolder();
    options.output = Output(name);
    options.layers = 2;
    options.width = 16;
    options.heads = 2;
    options.length = 16;
    options.depth = 2;
    options.leaf_width = 4;
    options.batch = 8;
    options.micro_batch = 4;
    options.batch_ramp = 0.5;
    options.learning_rate = 1e-2;
    options.steps = 200;
    options.log_every = 3;
    options.validate_every = 50;
    options.validation_sequences = 8;
    options.checkpoint_every = 10;
    options.device = "cpu";
    return options;
  }

  // A run in a child process, which ends with 0 if it finished.
  static pid_t Start(const PretrainOptions& options, bool resume) {
    const pid_t child = fork();
    if (child != 0) return child;
    PretrainContext context;
    context.resume = resume;
    const auto summary = Pretrain(options, context);
    if (!summary.ok()) std::fprintf(stderr, "%s\n", summary.error().message().c_str());
    _exit(summary.ok() && summary.value().finished ? 0 : 1);
  }
  static int Wait(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return status;
  }

  static std::vector<Json> Log(const std::string& output) {
    std::vector<Json> lines;
    std::istringstream text(ReadTextFile(output + "/log.jsonl").value());
    for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
    return lines;
  }
  // What must not depend on interruptions: events, steps and losses, in order.
  static std::vector<Json> Story(const std::string& output) {
    std::vector<Json> story;
    for (const Json& line : Log(output)) {
      if (line["event"] == "start") continue;
      story.push_back({line["event"], line["step"], line.value("loss", 0.0), line["tokens"]});
    }
    return story;
  }
  static int64_t LastLoggedStep(const std::string& output) {
    const auto text = ReadTextFile(output + "/log.jsonl");
    if (!text.ok()) return -1;
    const size_t at = text.value().rfind("{\"event\":\"step\",\"step\":");
    return at == std::string::npos ? -1 : std::atoll(text.value().c_str() + at + 23);
  }

  test::TemporaryFolder folder_;
};

TEST_F(PretrainTest, KilledAndResumedIsBitIdentical) {
  ASSERT_EQ(Wait(Start(Options("whole"), false)), 0);
  const PretrainOptions options = Options("killed");
  int kills = 0;
  for (const int64_t step : {20, 55, 90, 140}) {
    const pid_t run = Start(options, kills > 0);
    const double deadline = NowSeconds() + 60;
    while (LastLoggedStep(options.output) < step && NowSeconds() < deadline) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    kill(run, SIGKILL);
    const int status = Wait(run);
    if (WIFSIGNALED(status)) ++kills;
    EXPECT_FALSE(fs::exists(options.output + "/config.json"));
  }
  EXPECT_EQ(kills, 4);
  ASSERT_EQ(Wait(Start(options, true)), 0);
  EXPECT_EQ(ReadTextFile(Output("whole") + "/model.safetensors").value(),
            ReadTextFile(Output("killed") + "/model.safetensors").value());
  EXPECT_EQ(Story(Output("whole")), Story(Output("killed")));
}

TEST_F(PretrainTest, StoppedWithADamagedCheckpointResumesFromTheOneBefore) {
  PretrainOptions options = Options("stopped");
  ASSERT_TRUE(Pretrain(Options("whole"), {}).ok());
  int asked = 0;
  PretrainContext context;
  context.stop = [&asked] { return ++asked == 25; };
  const auto stopped = Pretrain(options, context);
  ASSERT_TRUE(stopped.ok()) << stopped.error().message();
  EXPECT_FALSE(stopped.value().finished);
  EXPECT_EQ(stopped.value().progress.step, 25);
  EXPECT_FALSE(fs::exists(options.output + "/config.json"));
  const std::string newest = options.output + "/checkpoints/checkpoint-000000025.safetensors";
  ASSERT_TRUE(fs::exists(newest));
  fs::resize_file(newest, fs::file_size(newest) - 5);

  EXPECT_FALSE(Pretrain(options, {}).ok());  // the folder is in use
  struct Listener final : PretrainObserver {
    void Notice(const std::string& sentence) override { said += sentence + "\n"; }
    void Report(const TrainingReport&) override {}
    std::string said;
  } listener;
  const auto resumed = Pretrain(options, {.resume = true, .observer = &listener});
  ASSERT_TRUE(resumed.ok()) << resumed.error().message();
  EXPECT_TRUE(resumed.value().finished);
  EXPECT_NE(listener.said.find("checkpoint-000000025"), std::string::npos) << listener.said;
  EXPECT_NE(listener.said.find("resuming at step 20"), std::string::npos) << listener.said;
  EXPECT_EQ(ReadTextFile(Output("whole") + "/model.safetensors").value(),
            ReadTextFile(Output("stopped") + "/model.safetensors").value());
  EXPECT_EQ(Story(Output("whole")), Story(Output("stopped")));
}

// The remedies' state (visit counts, moving shares) is part of a checkpoint, and reports on routing change nothing.
// Every kind in one model, with all that draws random numbers or changes over the budget.
TEST_F(PretrainTest, RoutersThatDrawNumbersResumeBitIdentically) {
  const auto options = [this](const char* name) {
    PretrainOptions own = Options(name);
    own.layers = 5;
    own.steps = 40;
    own.layer_feed_forward =
        "0: feed_forward=moe router=noisy_top_k experts=4 expert_width=3; 1: feed_forward=neuron_tree routing=random;"
        "2: feed_forward=product_key sub_keys=4 key_width=4; 3: feed_forward=neuron_tree routing=token_hash "
        "always_on=3";
    own.region_leak = 0.1;
    own.train_paths = 4;
    own.hardening = 0.1;
    own.hardening_schedule = "linear";
    return own;
  };
  ASSERT_TRUE(Pretrain(options("whole"), {}).ok());
  int asked = 0;
  PretrainContext context;
  context.stop = [&asked] { return ++asked == 25; };
  ASSERT_FALSE(Pretrain(options("stopped"), context).value().finished);
  const auto resumed = Pretrain(options("stopped"), {.resume = true});
  ASSERT_TRUE(resumed.ok() && resumed.value().finished);
  EXPECT_EQ(ReadTextFile(Output("whole") + "/model.safetensors").value(),
            ReadTextFile(Output("stopped") + "/model.safetensors").value());
}

TEST_F(PretrainTest, PerUnitUpdatesResumeBitIdentically) {
  const auto options = [this](const char* name) {
    PretrainOptions own = Options(name);
    own.steps = 60;
    own.depth = 4;  // 16 leaves for few tokens: some rest in every step
    own.unit_rate_power = 0.5;
    own.lazy_units = true;
    own.ancestor_steps = 2;
    own.init = "alike";
    return own;
  };
  PretrainOptions watched = options("whole");
  watched.routing_every = 1;
  ASSERT_TRUE(Pretrain(watched, {}).ok());
  int asked = 0;
  PretrainContext context;
  context.stop = [&asked] { return ++asked == 25; };
  PretrainOptions stopped = options("stopped");
  stopped.routing_every = 0;
  ASSERT_FALSE(Pretrain(stopped, context).value().finished);
  ASSERT_TRUE(Pretrain(stopped, {.resume = true}).value().finished);
  const std::string weights = ReadTextFile(Output("whole") + "/model.safetensors").value();
  EXPECT_EQ(weights, ReadTextFile(Output("stopped") + "/model.safetensors").value());
  PretrainOptions plain = options("plain");
  plain.unit_rate_power = 0;
  plain.lazy_units = false;
  plain.ancestor_steps = 0;
  ASSERT_TRUE(Pretrain(plain, {}).ok());
  EXPECT_NE(weights, ReadTextFile(Output("plain") + "/model.safetensors").value());

  int reports = 0;
  for (const Json& line : Log(Output("whole"))) {
    if (line["event"] != "routing") continue;
    ++reports;
    EXPECT_EQ(line["layers"].size(), 2u);
    EXPECT_EQ(line["layers"][0]["units"], Json({16}));
    EXPECT_EQ(line["layers"][0]["entropy"].size(), 4u);
    EXPECT_GT(line["layers"][0]["gradient_norm"][0], 0);
  }
  EXPECT_EQ(reports, 20);
}

TEST_F(PretrainTest, AnInitializationWithoutMeaningIsRefused) {
  PretrainOptions options = Options("run");
  options.feed_forward = "dense";
  options.init = "alike";
  const auto summary = Pretrain(options, {});
  ASSERT_FALSE(summary.ok());
  EXPECT_NE(summary.error().message().find("--init"), std::string::npos) << summary.error().message();
}

TEST_F(PretrainTest, LearnsAndLeavesAModelWithItsCard) {
  PretrainOptions options = Options("model");
  options.save_dtype = "bf16";
  const auto summary = Pretrain(options, {.threads = 2});
  ASSERT_TRUE(summary.ok()) << summary.error().message();
  const auto directory = ModelDirectory::Open(options.output);
  ASSERT_TRUE(directory.ok()) << directory.error().message();
  EXPECT_FALSE(directory.value().tokenizer_path.empty());
  const Json card = Json::parse(ReadTextFile(options.output + "/training.json").value());
  EXPECT_EQ(card["steps"], 200);
  EXPECT_EQ(card["tokens"], summary.value().progress.tokens);
  EXPECT_LT(card["validation_loss"], card["data"]["unigram_entropy"]);
  const std::vector<Json> log = Log(options.output);
  EXPECT_EQ(log.front()["event"], "start");
  EXPECT_EQ(log.back()["event"], "end");
  // A word of two predicts the next: a model that learns at all gets well below its first loss.
  EXPECT_LT(card["validation_loss"].get<double>(), 0.8 * log[1]["loss"].get<double>());
}

TEST_F(PretrainTest, ResumingAnotherRunIsRefused) {
  PretrainOptions options = Options("run");
  PretrainContext context;
  context.stop = [] { return true; };
  ASSERT_TRUE(Pretrain(options, context).ok());
  options.seed = 2;
  const auto other = Pretrain(options, {.resume = true});
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message().find("--seed"), std::string::npos) << other.error().message();
}

TEST_F(PretrainTest, AModelIsReplacedOnlyWhereThatIsAskedFor) {
  PretrainOptions options = Options("model");
  options.steps = 2;
  ASSERT_TRUE(Pretrain(options, {}).ok());
  const std::string weights = options.output + "/model.safetensors", before = ReadTextFile(weights).value();
  fs::remove_all(options.output + "/checkpoints");  // as in any model that was not trained here
  options.seed = 5;
  const auto refused = [&](const PretrainContext& context, const std::string& word) {
    const auto summary = Pretrain(options, context);
    ASSERT_FALSE(summary.ok()) << word;
    EXPECT_NE(summary.error().message().find(word), std::string::npos) << summary.error().message();
    EXPECT_EQ(ReadTextFile(weights).value(), before);
  };
  refused({}, "--overwrite");
  refused({.resume = true}, "no checkpoint to go on from");
  options.start_from = options.output + "/";
  for (const bool resume : {false, true}) refused({.resume = resume, .overwrite = true}, "--start-from");
  options.start_from.clear();
  ASSERT_TRUE(Pretrain(options, {.overwrite = true}).ok());
  EXPECT_NE(ReadTextFile(weights).value(), before);
}

TEST_F(PretrainTest, ALossThatIsNoNumberEndsTheRun) {
  PretrainOptions options = Options("run");
  options.learning_rate = 10;
  options.init_std = 10;
  options.clip = 1e9;
  options.epsilon = 0;
  const auto summary = Pretrain(options, {});
  if (summary.ok()) GTEST_SKIP() << "this machine's rounding keeps even that run finite";
  EXPECT_NE(summary.error().message().find("--learning-rate"), std::string::npos) << summary.error().message();
}

}  // namespace
}  // namespace grove::train
