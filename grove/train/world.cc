// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/world.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

namespace grove::train {
namespace {

using Variable = std::function<const char*(const char*)>;

Error Wrong(const char* name, const char* text, const std::string& expected) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("the environment variable {} is \"{}\" and must be {}", name, text, expected));
}

// Writes the variable's number to `value`, or leaves it; true if the variable is set.
template <class T>
Result<bool> ReadNumber(const Variable& variable, const char* name, T low, T high, T* value) {
  const char* text = variable(name);
  if (text == nullptr || *text == '\0') return false;
  const std::string_view all(text);
  T number{};
  const auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), number);
  if (error != std::errc() || end != all.data() + all.size() || !(number >= low && number <= high)) {
    return Wrong(name, text, fmt::format("a number from {} to {}", low, high));
  }
  *value = number;
  return true;
}

// The names under which a launcher gives the same four numbers.
struct Launcher {
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;
};
constexpr Launcher kLaunchers[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
};
constexpr int kMaxProcesses = 1 << 20;

Result<World> ReadPlace(const Variable& variable) {
  World world;
  for (const Launcher& names : kLaunchers) {
    GROVE_ASSIGN_OR_RETURN(const bool has_rank, ReadNumber(variable, names.rank, 0, kMaxProcesses, &world.rank));
    GROVE_ASSIGN_OR_RETURN(const bool has_size, ReadNumber(variable, names.size, 1, kMaxProcesses, &world.size));
    if (!has_rank && !has_size) continue;
    if (has_rank != has_size) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("the environment variable {} is set but {} is not; set both or neither",
                               has_rank ? names.rank : names.size, has_rank ? names.size : names.rank));
    }
    if (world.rank >= world.size) {
      return Wrong(names.rank, variable(names.rank), fmt::format("less than {}, which is {}", names.size, world.size));
    }
    world.launched = true;
    // Without the local numbers all processes are taken to be on one machine.
    world.local_rank = world.rank;
    world.local_size = world.size;
    GROVE_RETURN_IF_ERROR(ReadNumber(variable, names.local_rank, 0, kMaxProcesses, &world.local_rank));
    GROVE_RETURN_IF_ERROR(ReadNumber(variable, names.local_size, 1, kMaxProcesses, &world.local_size));
    return world;
  }
  return world;
}

}  // namespace

Result<World> WorldOfEnvironment(const Variable& given) {
  const Variable variable = given ? given : Variable([](const char* name) { return std::getenv(name); });
  GROVE_ASSIGN_OR_RETURN(World world, ReadPlace(variable));
  GROVE_RETURN_IF_ERROR(ReadNumber(variable, "GROVE_JOIN_SECONDS", 1.0, 1e6, &world.join_seconds));
  GROVE_RETURN_IF_ERROR(ReadNumber(variable, "GROVE_SILENCE_SECONDS", 2.0, 1e6, &world.silence_seconds));
  if (!world.launched) return world;
  GROVE_RETURN_IF_ERROR(ReadNumber(variable, "MASTER_PORT", 1, 65535, &world.port));
  const char* address = variable("MASTER_ADDR");
  if (address != nullptr && *address != '\0') {
    world.address = address;
  } else if (world.local_size < world.size) {
    return Error(
        ErrorCode::kInvalidArgument,
        "the job has processes on several machines but the environment variable MASTER_ADDR is not set; set it "
        "to the name or address of the machine of rank 0");
  }
  // With TORCHELASTIC_USE_AGENT_STORE torchrun keeps a store of its own there, of its own PyTorch's protocol.
  const char* agent = variable("TORCHELASTIC_USE_AGENT_STORE");
  if (agent != nullptr && std::string_view(agent) == "True" && world.port < 65535) ++world.port;
  return world;
}

}  // namespace grove::train
