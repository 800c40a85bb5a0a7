// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The ranks of a job as child processes of a test. The test itself starts no thread before, so that it can fork.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "grove/train/process_group.h"
#include "grove/train/world.h"

#define SKIP_WITHOUT_GLOO() \
  if (!ProcessGroup::Supports(torch::kCPU)) GTEST_SKIP() << "built without Gloo's headers"

namespace grove::train::test {

// A TCP port of this machine that nobody listens at.
inline int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  EXPECT_TRUE(bound);
  close(fd);
  return ntohs(address.sin_port);
}

// What a rank said, and its exit code.
struct Told {
  int code = -1;
  std::string said;
};
using Tell = std::function<void(const std::string& text)>;
using Body = std::function<void(const World& world, const Tell& tell)>;

// Runs body(world, tell) in `size` processes. A body that returns ends with 0.
inline std::vector<Told> InProcesses(int size, const Body& body) {
  World world{.launched = true, .size = size, .local_size = size, .port = FreePort()};
  world.join_seconds = 20;
  world.silence_seconds = 2;
  std::vector<pid_t> children;
  std::vector<int> pipes;
  for (int rank = 0; rank < size; ++rank) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      std::signal(SIGPIPE, SIG_IGN);  // as the program does: writing to a rank that has died is an error, not an end
      world.rank = world.local_rank = rank;
      body(world, [&](const std::string& text) {
        if (write(ends[1], text.data(), text.size()) < 0) _exit(3);
      });
      _exit(0);
    }
    close(ends[1]);
    children.push_back(child);
    pipes.push_back(ends[0]);
  }
  std::vector<Told> told(children.size());
  for (size_t i = 0; i < children.size(); ++i) {
    char text[4096];
    for (ssize_t n = 0; (n = read(pipes[i], text, sizeof(text))) > 0;) {
      told[i].said.append(text, static_cast<size_t>(n));
    }
    close(pipes[i]);
    int status = 0;
    waitpid(children[i], &status, 0);
    told[i].code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return told;
}

}  // namespace grove::train::test
