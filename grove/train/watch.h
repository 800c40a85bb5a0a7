// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// The part of a meeting point (meeting_point.h) that notices lost processes.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "grove/train/meeting_point.h"

namespace grove::train {

std::string StoreText(c10d::Store& store, const std::string& key);
void SetStoreText(c10d::Store& store, const std::string& key, const std::string& text);

class Watch {
 public:
  static constexpr double kBeatSeconds = 0.5;

  // `store` is for this object alone; everybody has joined.
  Watch(const World& world, c10::intrusive_ptr<c10d::Store> store, LostHandler on_lost);
  ~Watch();

  std::optional<std::string> lost() const;  // why the job is lost, once it is
  void AskToStop() { ask_to_stop_ = true; }
  bool StopAsked() const { return stop_asked_; }
  std::optional<std::string> Explain();  // waits some seconds for a verdict
  void EndWith(const std::string& message);

 private:
  void BeatLoop();
  void Beat();
  void Look(int rank);
  void JudgeLoop();
  void Lose(const std::string& sentence);
  double Limit() const;
  std::string Gone(int rank) const;

  struct Sign {
    int64_t count = -1;
    double since = 0;  // when it last changed, on our clock
  };

  const World world_;
  const c10::intrusive_ptr<c10d::Store> store_;  // of the beating thread
  const LostHandler on_lost_;
  std::vector<Sign> signs_;      // by rank; of the beating thread
  std::atomic<double> contact_;  // the last answer of the store
  std::atomic<bool> end_{false}, trouble_{false}, told_trouble_{false}, explaining_{false};
  std::atomic<bool> ask_to_stop_{false}, stop_asked_{false};
  mutable std::mutex mutex_;
  std::optional<std::string> lost_, last_words_;
  std::atomic<bool> last_words_said_{false};
  std::thread beat_, judge_;
};

}  // namespace grove::train
