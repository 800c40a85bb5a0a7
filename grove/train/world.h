// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Which of how many processes this is, as the launcher says in the environment:
//
//   torchrun   RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT
//              (torchrun itself listens at MASTER_PORT, for its own protocol: rank 0 takes the next port)
//   mpirun     OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE (Open MPI), or PMI_RANK, PMI_SIZE,
//   MPI_LOCALRANKID,
//              MPI_LOCALNRANKS (MPICH, Intel); MASTER_ADDR and MASTER_PORT as above, needed with several machines only
//
// Ours: GROVE_JOIN_SECONDS, GROVE_SILENCE_SECONDS. Without any of these a run is one process.
#pragma once

#include <functional>
#include <string>

#include "grove/base/result.h"

namespace grove::train {

struct World {
  bool launched = false;  // by a launcher; false: everything below keeps its default
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // among the processes of this machine
  std::string address = "127.0.0.1";   // where rank 0 listens
  int port = 29500;
  double join_seconds = 300;    // how long the processes wait for each other at the start
  double silence_seconds = 20;  // after which a process without sign of life counts as gone
};

// `variable` gives the value of an environment variable or null (default: getenv). An error names the variable.
Result<World> WorldOfEnvironment(const std::function<const char*(const char*)>& variable = {});

}  // namespace grove::train
