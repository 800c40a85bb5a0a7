// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "grove/base/clock.h"

namespace grove::train {
namespace {

constexpr double kTroubleSeconds = 3;  // silence that counts once a collective operation has failed
constexpr double kGraceSeconds = 2;    // for the process to notice a loss by itself

void Sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

}  // namespace

Watch::Watch(const World& world, c10::intrusive_ptr<c10d::Store> store, LostHandler on_lost)
    : world_(world),
      store_(std::move(store)),
      on_lost_(std::move(on_lost)),
      signs_(static_cast<size_t>(world.size), Sign{-1, NowSeconds()}),
      contact_(NowSeconds()),
      beat_([this] { BeatLoop(); }),
      judge_([this] { JudgeLoop(); }) {}

Watch::~Watch() {
  end_ = true;
  beat_.join();
  judge_.join();
}

std::optional<std::string> Watch::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

double Watch::Limit() const {
  return trouble_ ? std::min(kTroubleSeconds, world_.silence_seconds) : world_.silence_seconds;
}

std::string Watch::Gone(int rank) const {
  return fmt::format(
      "rank {} of {} is gone (no sign of life for {:.0f} s; was it killed, or out of memory?); start the "
      "job again with --resume, with any number of processes",
      rank, world_.size, Limit());
}

void Watch::Lose(const std::string& sentence) {
  const std::lock_guard lock(mutex_);
  if (!lost_) lost_ = sentence;
}

void Watch::BeatLoop() {
  while (!end_ && !lost()) {
    try {
      Beat();
      contact_ = NowSeconds();
    } catch (const std::exception&) {
      if (end_) return;
      Lose(
          fmt::format("rank 0 of {} is gone (nobody answers at {}:{}; was it killed, or out of memory?); start the job "
                      "again with --resume, with any number of processes",
                      world_.size, world_.address, world_.port));
      return;
    }
    for (double slept = 0; slept < kBeatSeconds && !end_; slept += 0.02) Sleep(0.02);
  }
}

void Watch::Beat() {
  store_->add(fmt::format("beat/{}", world_.rank), 1);
  if (trouble_ && !told_trouble_.exchange(true)) store_->add("trouble", 1);
  if (store_->add("trouble", 0) > 0) trouble_ = told_trouble_ = true;
  if (ask_to_stop_.exchange(false)) store_->add("stop", 1);
  if (world_.rank == 0 && store_->add("stop", 0) > 0) stop_asked_ = true;
  std::optional<std::string> words;
  {
    const std::lock_guard lock(mutex_);
    words = last_words_;
  }
  if (words && !last_words_said_) {
    if (!store_->check({"verdict"})) SetStoreText(*store_, "verdict", *words);
    last_words_said_ = true;
    return;
  }
  if (store_->check({"verdict"})) return Lose(StoreText(*store_, "verdict"));
  for (int rank = 0; rank < (world_.rank == 0 ? world_.size : 1); ++rank) {
    if (rank != world_.rank) Look(rank);
  }
}

void Watch::Look(int rank) {
  Sign& sign = signs_[static_cast<size_t>(rank)];
  const int64_t count = store_->add(fmt::format("beat/{}", rank), 0);
  if (count != sign.count) {
    sign = {count, NowSeconds()};
  } else if (NowSeconds() - sign.since > Limit()) {
    SetStoreText(*store_, "verdict", Gone(rank));
    Lose(Gone(rank));
  }
}

// Ends the process through the handler when the other threads cannot: the store may hang, or a collective operation.
void Watch::JudgeLoop() {
  while (!end_) {
    Sleep(0.02);
    if (NowSeconds() - contact_ > Limit() + 2 * kBeatSeconds) {
      Lose(
          fmt::format("rank 0 of {} does not answer at {}:{}; start the job again with --resume, with any number of "
                      "processes",
                      world_.size, world_.address, world_.port));
    }
    const auto sentence = lost();
    if (!sentence) continue;
    const double deadline = NowSeconds() + kGraceSeconds;
    while (NowSeconds() < deadline && !end_ && !explaining_) Sleep(0.02);
    if (!end_ && !explaining_ && on_lost_) on_lost_(*sentence);
    return;
  }
}

std::optional<std::string> Watch::Explain() {
  explaining_ = true;
  trouble_ = true;
  const double deadline = NowSeconds() + std::min(kTroubleSeconds, world_.silence_seconds) + 4 * kBeatSeconds;
  while (NowSeconds() < deadline) {
    if (const auto sentence = lost()) return sentence;
    Sleep(0.02);
  }
  return {};
}

void Watch::EndWith(const std::string& message) {
  explaining_ = true;
  {
    const std::lock_guard lock(mutex_);
    last_words_ = fmt::format("rank {} failed: {}", world_.rank, message);
  }
  const double deadline = NowSeconds() + 4 * kBeatSeconds;
  while (!last_words_said_ && !lost() && NowSeconds() < deadline) Sleep(0.02);
}

}  // namespace grove::train
