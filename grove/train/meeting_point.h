// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Where the processes of a job meet: a small store of c10d at rank 0, for everything that is not a tensor, and the
// watch that notices a process that is gone. A process that waits in a collective operation for a dead one may wait
// forever, so the watch runs on threads of its own:
//
//   - every half second each process counts up its own counter in the store; rank 0 looks at all counters, everybody at
//     rank 0's; a counter that stands still for World::silence_seconds (3 s once a collective has failed) is a lost
//     process, and so is a store that does not answer;
//   - whoever sees it first, or ends with an error of its own, writes the verdict, one sentence that all others read.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "grove/base/result.h"
#include "grove/train/world.h"

namespace grove::train {

// Called on another thread, once, when the job has lost a process and this one has not noticed by itself: it may be
// waiting for it forever. A program ends the process here.
using LostHandler = std::function<void(const std::string& sentence)>;

class MeetingPoint {
 public:
  // Waits until all processes are there.
  static Result<std::unique_ptr<MeetingPoint>> Join(const World& world, LostHandler on_lost);
  ~MeetingPoint();  // says goodbye; rank 0 waits a little for the others to have heard everything

  const World& world() const;

  // Everybody calls it with what became of it, and all get Ok or the first error in order of rank.
  Status Agree(const Status& mine);
  // Rank 0's text, on every rank, at the same point of their calls.
  Result<std::string> FromFirst(const std::string& text);

  // Any rank may ask for a stop; rank 0 hears of it within a second.
  void AskToStop();
  bool StopAsked() const;

  // What to tell the user when a collective operation failed with `what`: the verdict, for which it waits some seconds,
  // or `what` if nobody is lost.
  std::string Explain(const std::string& what);
  // Tells the others that this process ends because of an error, unless the job is lost already. Without it, the
  // destructor takes leave in peace.
  void EndWith(const std::string& message);

  c10::intrusive_ptr<c10d::Store> store();  // for a process group, under a prefix of its own

 private:
  struct State;
  explicit MeetingPoint(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace grove::train
