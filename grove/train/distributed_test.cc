// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Training with several processes: the same weights as one, lost processes, resuming at another size.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>

#include "grove/base/clock.h"
#include "grove/io/files.h"
#include "grove/io/safetensors.h"
#include "grove/train/gradient_sums.h"
#include "grove/train/packed_text_for_test.h"
#include "grove/train/pretrain.h"
#include "grove/train/processes_for_test.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

using Json = nlohmann::json;

class DistributedTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_GLOO();
    ASSERT_NO_FATAL_FAILURE(WritePackedText(folder_.path() + "/data"));
  }

  PretrainOptions Options(const std::string& name) const {
    PretrainOptions options;
    options.data = folder_.path() + "/data";
    options.output = folder_.path() + "/" + name;
    options.layers = 2;
    options.width = 16;
    options.heads = 2;
    options.length = 16;
    options.feed_forward = "dense";
    options.intermediate = 32;
    options.batch = 24;
    options.micro_batch = 8;
    options.batch_ramp = 0.5;
    options.epsilon = 1e-8;
    options.steps = 6;
    options.log_every = 2;
    options.validate_every = 0;
    options.validation_sequences = 200;  // several batches
    options.checkpoint_every = 4;
    options.device = "cpu";
    return options;
  }

  // Runs the job; each rank tells its error, or "finished" or "stopped".
  static std::vector<test::Told> Run(const PretrainOptions& options, int size, const PretrainContext& context = {}) {
    return test::InProcesses(
        size, [&](const World& world, const test::Tell& tell) { RunRank(options, context, world, tell); });
  }
  static void RunRank(const PretrainOptions& options, PretrainContext context, const World& world,
                      const test::Tell& tell) {
    context.world = world;
    context.on_lost = [&](const std::string& sentence) {
      tell(sentence);
      _exit(0);
    };
    const auto summary = Pretrain(options, context);
    tell(!summary.ok() ? summary.error().message() : summary.value().finished ? "finished" : "stopped");
  }

  static double LargestDifference(const std::string& a, const std::string& b) {
    const auto one = SafetensorsFile::Open(a + "/model.safetensors"),
               two = SafetensorsFile::Open(b + "/model.safetensors");
    if (!one.ok() || !two.ok()) return 1e9;
    double largest = 0;
    for (const auto& [name, view] : one.value().tensors()) {
      const auto other = two.value().tensors().find(name);
      if (other == two.value().tensors().end() || other->second.bytes.size() != view.bytes.size()) return 1e9;
      if (view.dtype != DType::kF32) continue;
      for (size_t i = 0; i < view.bytes.size(); i += sizeof(float)) {
        float x = 0, y = 0;
        std::memcpy(&x, view.bytes.data() + i, sizeof(x));
        std::memcpy(&y, other->second.bytes.data() + i, sizeof(y));
        largest = std::max(largest, static_cast<double>(std::abs(x - y)));
      }
    }
    return largest;
  }

  static std::vector<Json> Log(const std::string& output) {
    std::vector<Json> lines;
    std::istringstream text(ReadTextFile(output + "/log.jsonl").value());
    for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
    return lines;
  }

  ::grove::test::TemporaryFolder folder_;
};

TEST_F(DistributedTest, TwoAndFourProcessesGiveTheWeightsOfOne) {
  for (const char* kind : {"dense", "leaf_tree"}) {
    PretrainOptions options = Options(std::string("one-") + kind);
    options.feed_forward = kind;
    options.depth = 2;
    options.leaf_width = 8;
    options.balance = 0;  // computed from the statistics of a forward pass
    ASSERT_EQ(Run(options, 1)[0].said, "finished");
    const std::string one = options.output;
    for (const int size : {2, 4}) {
      options.output = folder_.path() + "/" + kind + std::to_string(size);
      for (const test::Told& told : Run(options, size, {.threads = size == 2 ? 2u : 1u})) {
        EXPECT_EQ(told.said, "finished");
      }
      EXPECT_LT(LargestDifference(one, options.output), 1e-6) << kind << ", " << size;
      const std::vector<Json> alone = Log(one), together = Log(options.output);
      ASSERT_EQ(alone.size(), together.size());
      for (size_t i = 1; i < alone.size(); ++i) {
        EXPECT_EQ(alone[i]["tokens"], together[i]["tokens"]);
        if (alone[i].contains("loss")) {
          EXPECT_NEAR(alone[i]["loss"].get<double>(), together[i]["loss"].get<double>(), 1e-5);
        }
      }
    }
  }
}

// Micro-batches have different numbers of words to predict, and still only memory depends on their size.
TEST_F(DistributedTest, MicroBatchesGiveTheWeightsOfOneLargeBatch) {
  PretrainOptions options = Options("large");
  options.micro_batch = 24;
  options.batch_ramp = 0;
  ASSERT_EQ(Run(options, 1)[0].said, "finished");
  const std::string large = options.output;
  options.micro_batch = 3;
  options.output = folder_.path() + "/small";
  ASSERT_EQ(Run(options, 1)[0].said, "finished");
  EXPECT_LT(LargestDifference(large, options.output), 1e-6);
}

// One process of three is killed while it works: the others name it and end within seconds; the run goes on, also with
// another number of processes, and arrives where an undisturbed one does.
TEST_F(DistributedTest, AKilledProcessEndsTheJobWhichResumesAtAnotherSize) {
  PretrainOptions options = Options("undisturbed");
  options.steps = 60;
  options.checkpoint_every = 5;
  ASSERT_EQ(Run(options, 1)[0].said, "finished");
  const std::string undisturbed = options.output;
  options.output = folder_.path() + "/killed";
  const double begin = NowSeconds();
  const auto told = test::InProcesses(3, [&](const World& world, const test::Tell& tell) {
    int steps = 0;
    PretrainContext context;
    context.stop = [&] {
      if (world.rank == 1 && ++steps == 33) raise(SIGKILL);
      return false;
    };
    RunRank(options, context, world, tell);
  });
  EXPECT_LT(NowSeconds() - begin, 30);
  EXPECT_EQ(told[1].code, 128 + SIGKILL);
  for (const int rank : {0, 2}) {
    EXPECT_NE(told[static_cast<size_t>(rank)].said.find("rank 1 of 3 is gone"), std::string::npos)
        << told[static_cast<size_t>(rank)].said;
  }
  EXPECT_FALSE(std::filesystem::exists(options.output + "/config.json"));
  for (const test::Told& rank : Run(options, 2, {.resume = true})) EXPECT_EQ(rank.said, "finished");
  EXPECT_LT(LargestDifference(undisturbed, options.output), 1e-4);
  EXPECT_EQ(Log(undisturbed).size(), Log(options.output).size());  // no step twice, none missing
}

TEST_F(DistributedTest, AnyRanksStopStopsAllWithACheckpoint) {
  PretrainOptions options = Options("stopped");
  options.steps = 100000;
  PretrainContext context;
  const auto told = test::InProcesses(2, [&](const World& world, const test::Tell& tell) {
    PretrainContext own;
    own.stop = [&] { return world.rank == 1; };
    RunRank(options, own, world, tell);
  });
  for (const test::Told& rank : told) EXPECT_EQ(rank.said, "stopped");
  options.steps = 1;  // the budget is used: the resumed run only writes the model
  for (const test::Told& rank : Run(options, 2, {.resume = true})) EXPECT_EQ(rank.said, "finished");
}

TEST_F(DistributedTest, RanksThatDoNotFitTogetherAreRefused) {
  const auto told = test::InProcesses(2, [&](const World& world, const test::Tell& tell) {
    PretrainOptions options = Options("differs");
    if (world.rank == 1) options.log_every = 5;
    RunRank(options, {}, world, tell);
  });
  for (const test::Told& rank : told) {
    EXPECT_NE(rank.said.find("rank 1 was started with log_every 5 but rank 0 with 2"), std::string::npos) << rank.said;
  }
  PretrainOptions options = Options("small");
  options.micro_batch = 1;
  EXPECT_NE(Run(options, 2)[0].said.find("--micro-batch"), std::string::npos);
  options = Options("nowhere");
  options.data = "/nowhere";
  for (const test::Told& rank : Run(options, 2)) {
    EXPECT_NE(rank.said.find("/nowhere is no packed text"), std::string::npos) << rank.said;
  }
}

// Backward finishes the last layers first; their sums are on the way before it reaches the first.
TEST(GradientSums, GoOutDuringBackward) {
  SKIP_WITHOUT_GLOO();
  const auto told = test::InProcesses(2, [](const World& world, const test::Tell& tell) {
    auto joined = ProcessGroup::Join(world, {});
    if (!joined.ok() || !joined.value()->Connect(torch::kCPU).ok()) return tell("no connection");
    for (const bool with_unused : {false, true}) {
      torch::manual_seed(1);
      torch::nn::Sequential model;
      for (int i = 0; i < 5; ++i) model->push_back(torch::nn::Linear(32, 32));
      if (with_unused) model->register_module("unused", torch::nn::Linear(32, 32));
      AdamW optimizer(*model, {});
      GradientSums sums(*joined.value(), *model, optimizer, /*bucket_elements=*/1024);
      torch::Tensor x = torch::full({1, 32}, world.rank + 1.0);
      std::vector<torch::Tensor> results;
      for (const bool expect : {false, true}) {
        if (expect) sums.Expect();
        torch::Tensor y = x;
        for (int i = 0; i < 5; ++i) y = model->at<torch::nn::LinearImpl>(static_cast<size_t>(i)).forward(y);
        y.sum().backward();
        sums.Finish();
        tell(fmt::format("{} of {} early; ", sums.sent_early(), sums.buckets()));
        results.push_back(optimizer.gradients().clone());
        optimizer.ZeroGradients();
      }
      tell(torch::equal(results[0], results[1]) ? "equal; " : "different; ");
    }
    (void)joined.value()->meeting().Agree(Ok{});
  });
  EXPECT_EQ(told[0].said, told[1].said);
  // A bucket per weight, one for all biases. A layer that takes no part holds back those behind it, here all.
  EXPECT_EQ(told[0].said, "0 of 6 early; 6 of 6 early; equal; 0 of 7 early; 0 of 7 early; equal; ");
}

}  // namespace
}  // namespace grove::train
