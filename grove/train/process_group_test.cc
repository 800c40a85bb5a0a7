// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Every rank is a child process; this one starts no thread, so that it can fork.
#include "grove/train/process_group.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "grove/base/clock.h"
#include "grove/train/compute.h"
#include "grove/train/processes_for_test.h"

namespace grove::train {
namespace {

TEST(ProcessGroup, SumsAndBroadcastsOverAllRanks) {
  SKIP_WITHOUT_GLOO();
  for (const int size : {1, 3}) {
    const auto told = test::InProcesses(size, [](const World& world, const test::Tell& tell) {
      auto group = ProcessGroup::Join(world, {});
      if (!group.ok()) return tell(group.error().message());
      const Status connected = group.value()->Connect(torch::kCPU);
      if (!connected.ok()) return tell(connected.error().message());
      torch::Tensor a = torch::full({1000}, world.rank + 1.0), b = torch::full({10}, 10.0 * world.rank);
      torch::Tensor c = torch::full({3}, world.rank + 7, torch::kDouble);
      group.value()->StartSum(a);
      group.value()->StartSum(b);
      group.value()->FinishSums();
      group.value()->Broadcast(c);
      tell(fmt::format("{} {} {}", a[999].item<double>(), b[0].item<double>(), c[2].item<double>()));
      (void)group.value()->meeting().Agree(Ok{});
    });
    for (const test::Told& one : told) {
      EXPECT_EQ(one.code, 0);
      EXPECT_EQ(one.said, size == 1 ? "1 0 7" : "6 30 7");
    }
  }
}

// Through NCCL, which takes one process per GPU: as many as there are, two at most.
TEST(ProcessGroup, SumsOnGpus) {
  if (!ProcessGroup::Supports(torch::kCUDA)) GTEST_SKIP() << "built without NCCL";
  const auto count = test::InProcesses(1, [](const World&, const test::Tell& tell) {
    tell(fmt::format("{}", torch::cuda::device_count()));  // in a child: CUDA does not survive a fork
  });
  const int size = std::min(2, std::stoi(count[0].said));
  if (size == 0) GTEST_SKIP() << "no GPU here";
  const auto told = test::InProcesses(size, [](const World& world, const test::Tell& tell) {
    const auto compute = ChooseCompute("cuda", 1, true, world);
    if (!compute.ok()) return tell(compute.error().message());
    const torch::Device device = compute.value().device;
    auto group = ProcessGroup::Join(world, {});
    if (!group.ok()) return tell(group.error().message());
    const Status connected = group.value()->Connect(device);
    if (!connected.ok()) return tell(connected.error().message());
    const torch::Tensor a = torch::full({1 << 20}, world.rank + 1.0, device), b = torch::ones({10}, device);
    group.value()->StartSum(a);
    group.value()->StartSum(b);
    group.value()->FinishSums();
    tell(fmt::format("{} {}", a[999].item<double>(), b[9].item<double>()));
    (void)group.value()->meeting().Agree(Ok{});
  });
  for (const test::Told& one : told) EXPECT_EQ(one.said, size == 1 ? "1 1" : "3 2");
}

TEST(ProcessGroup, EverybodyHearsTheFirstRanksTextAndTheFirstError) {
  const auto told = test::InProcesses(3, [](const World& world, const test::Tell& tell) {
    auto joined = MeetingPoint::Join(world, {});
    if (!joined.ok()) return tell(joined.error().message());
    MeetingPoint& meeting = *joined.value();
    for (int i = 0; i < 300; ++i) {
      const auto text = meeting.FromFirst(fmt::format("{} of rank {}", i, world.rank));
      if (!text.ok() || text.value() != fmt::format("{} of rank 0", i)) tell("wrong text;");
    }
    if (!meeting.Agree(Ok{}).ok()) tell("no agreement;");
    const Status mine = world.rank == 2 ? Status(Error(ErrorCode::kNotFound, "no data here")) : Status(Ok{});
    const Status all = meeting.Agree(mine);
    tell(all.ok() ? "agreed" : all.error().message());
  });
  EXPECT_EQ(told[0].said, "rank 2 failed: no data here");
  EXPECT_EQ(told[1].said, "rank 2 failed: no data here");
  EXPECT_EQ(told[2].said, "no data here");
}

TEST(ProcessGroup, AnyRankMayAskForAStop) {
  const auto told = test::InProcesses(2, [](const World& world, const test::Tell& tell) {
    auto joined = MeetingPoint::Join(world, {});
    if (!joined.ok()) return tell(joined.error().message());
    if (world.rank == 1) joined.value()->AskToStop();
    const double deadline = NowSeconds() + 10;
    while (world.rank == 0 && !joined.value()->StopAsked() && NowSeconds() < deadline) usleep(10'000);
    if (joined.value()->StopAsked()) tell("stop");
    (void)joined.value()->Agree(Ok{});
  });
  EXPECT_EQ(told[0].said, "stop");
}

// Waits for a sum that rank `victim` never joins; it dies of `signal` meanwhile.
void LoseRank(int victim, int signal, const World& world, const test::Tell& tell) {
  const auto ended_by_watch = [&](const std::string& sentence) {
    tell(sentence);
    _exit(0);
  };
  auto group = ProcessGroup::Join(world, ended_by_watch);
  if (!group.ok() || !group.value()->Connect(torch::kCPU).ok()) return tell("no connection");
  if (world.rank == victim) {
    const pid_t self = getpid();
    if (signal == SIGSTOP && fork() == 0) {  // a stopped process is not left behind
      sleep(6);
      kill(self, SIGKILL);
      _exit(0);
    }
    raise(signal);
    return;
  }
  try {
    group.value()->Sum(torch::ones({100'000}));
    tell("no error");
  } catch (const std::exception& error) {
    tell(group.value()->meeting().Explain(error.what()));
  }
}

void ExpectNamed(int victim, int signal) {
  SKIP_WITHOUT_GLOO();
  const double begin = NowSeconds();
  const auto told =
      test::InProcesses(3, [=](const World& world, const test::Tell& tell) { LoseRank(victim, signal, world, tell); });
  for (int rank = 0; rank < 3; ++rank) {
    const test::Told& one = told[static_cast<size_t>(rank)];
    if (rank == victim) {
      EXPECT_EQ(one.code, 128 + SIGKILL);
      continue;
    }
    EXPECT_EQ(one.code, 0);
    EXPECT_NE(one.said.find(fmt::format("rank {} of 3", victim)), std::string::npos) << rank << " said: " << one.said;
    EXPECT_NE(one.said.find("--resume"), std::string::npos) << one.said;
  }
  EXPECT_LT(NowSeconds() - begin, 20);
}

// The others of a job name a rank that is gone within seconds.
TEST(ProcessGroup, AKilledFirstRankIsNamed) { ExpectNamed(0, SIGKILL); }
TEST(ProcessGroup, AKilledLastRankIsNamed) { ExpectNamed(2, SIGKILL); }
// One that stops without a word keeps its connections open: only the watch notices.
TEST(ProcessGroup, AStoppedFirstRankIsNamed) { ExpectNamed(0, SIGSTOP); }
TEST(ProcessGroup, AStoppedLastRankIsNamed) { ExpectNamed(2, SIGSTOP); }

TEST(ProcessGroup, AProcessThatNeverComesIsNoticed) {
  World world{.launched = true, .size = 2, .local_size = 2, .port = test::FreePort()};
  world.join_seconds = 1;
  const auto joined = MeetingPoint::Join(world, {});
  ASSERT_FALSE(joined.ok());
  EXPECT_NE(joined.error().message().find("1 of 2 processes came"), std::string::npos) << joined.error().message();
}

World WorldOf(const std::map<std::string, std::string>& environment) {
  const auto world = WorldOfEnvironment([&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
  if (world.ok()) return world.value();
  World wrong;
  wrong.address = world.error().message();
  wrong.rank = -1;
  return wrong;
}

TEST(World, IsReadFromTheLaunchersVariables) {
  EXPECT_FALSE(WorldOf({}).launched);
  const World torchrun = WorldOf({{"RANK", "5"},
                                  {"WORLD_SIZE", "8"},
                                  {"LOCAL_RANK", "1"},
                                  {"LOCAL_WORLD_SIZE", "4"},
                                  {"MASTER_ADDR", "node0"},
                                  {"MASTER_PORT", "1234"},
                                  {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  EXPECT_TRUE(torchrun.launched);
  EXPECT_EQ(torchrun.rank, 5);
  EXPECT_EQ(torchrun.size, 8);
  EXPECT_EQ(torchrun.local_rank, 1);
  EXPECT_EQ(torchrun.local_size, 4);
  EXPECT_EQ(torchrun.address, "node0");
  EXPECT_EQ(torchrun.port, 1235);
  const World mpirun = WorldOf({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}});
  EXPECT_EQ(mpirun.rank, 1);
  EXPECT_EQ(mpirun.local_size, 2);
  EXPECT_EQ(mpirun.address, "127.0.0.1");
  EXPECT_EQ(WorldOf({{"PMI_RANK", "0"}, {"PMI_SIZE", "3"}}).size, 3);
}

TEST(World, WhatMakesNoSenseNamesTheVariable) {
  using Environment = std::map<std::string, std::string>;
  const std::pair<Environment, const char*> wrong[] = {
      {{{"RANK", "1"}}, "WORLD_SIZE"},
      {{{"RANK", "2"}, {"WORLD_SIZE", "2"}}, "RANK"},
      {{{"RANK", "one"}, {"WORLD_SIZE", "2"}}, "RANK"},
      {{{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "99999"}}, "MASTER_PORT"},
      {{{"RANK", "0"}, {"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "2"}}, "MASTER_ADDR"},
      {{{"GROVE_SILENCE_SECONDS", "0"}}, "GROVE_SILENCE_SECONDS"},
  };
  for (const auto& [environment, name] : wrong) {
    const World world = WorldOf(environment);
    EXPECT_EQ(world.rank, -1) << name;
    EXPECT_NE(world.address.find(name), std::string::npos) << world.address;
  }
}

}  // namespace
}  // namespace grove::train
