// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/meeting_point.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>
#include <vector>

#include "grove/base/clock.h"
#include "grove/train/watch.h"

namespace grove::train {
namespace {

constexpr int64_t kKeysKept = 10'000;  // of FromFirst: rank 0 is never that many steps ahead

void Sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

struct MeetingPoint::State {
  World world;
  c10::intrusive_ptr<c10d::Store> store;  // with the server, at rank 0
  std::unique_ptr<Watch> watch;
  int64_t agreements = 0, texts = 0;
  bool failed = false;

  // Waits for a key that another process writes. False: the job is lost.
  bool Await(const std::string& key) {
    for (int round = 0; !watch->lost(); ++round) {
      if (store->check({key})) return true;
      if (round > 20) Sleep(round > 2000 ? 5e-3 : 2e-4);
    }
    return false;
  }
  Error LostError() {
    failed = true;
    return Error(ErrorCode::kIo, watch->Explain().value_or("the other processes are gone"));
  }

  std::string Read(const std::string& key) { return StoreText(*store, key); }
  void Write(const std::string& key, const std::string& text) { SetStoreText(*store, key, text); }
};

std::string StoreText(c10d::Store& store, const std::string& key) {
  const std::vector<uint8_t> bytes = store.get(key);
  return {bytes.begin(), bytes.end()};
}

void SetStoreText(c10d::Store& store, const std::string& key, const std::string& text) {
  store.set(key, std::vector<uint8_t>(text.begin(), text.end()));
}

namespace {

c10::intrusive_ptr<c10d::Store> OpenStore(const World& world, bool server) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(world.port);
  options.isServer = server;
  options.waitWorkers = false;
  options.timeout = std::chrono::milliseconds(static_cast<int64_t>(world.join_seconds * 1e3));
  return c10::make_intrusive<c10d::TCPStore>(world.address, options);
}

Error CannotMeet(const World& world, bool server, const std::string& what) {
  const std::string place = fmt::format("{}:{}", world.address, world.port);
  const std::string why = FirstLine(what);
  if (server) {
    return Error(ErrorCode::kIo,
                 fmt::format("rank 0 cannot listen at {} ({}); set MASTER_PORT to a free port", place, why));
  }
  return Error(ErrorCode::kIo,
               fmt::format("rank {} did not reach rank 0 at {} ({}); start all processes of the job, and "
                           "give all the same MASTER_ADDR and MASTER_PORT",
                           world.rank, place, why));
}

// Waits for everybody; an error says how many came.
Status AwaitAll(c10d::Store& store, const World& world) {
  const double deadline = NowSeconds() + world.join_seconds;
  int64_t joined = store.add("joined", 1);
  while (joined < world.size && NowSeconds() < deadline) {
    Sleep(0.02);
    joined = store.add("joined", 0);
  }
  if (joined == world.size) return Ok{};
  return Error(ErrorCode::kIo,
               fmt::format("{} of {} processes came to {}:{} within {:.0f} s; start as many as the size "
                           "of the job says, with the same MASTER_ADDR and MASTER_PORT",
                           joined, world.size, world.address, world.port, world.join_seconds));
}

}  // namespace

Result<std::unique_ptr<MeetingPoint>> MeetingPoint::Join(const World& world, LostHandler on_lost) {
  auto state = std::make_unique<State>();
  state->world = world;
  const bool server = world.rank == 0;
  try {
    state->store = OpenStore(world, server);
    // A client of its own: one that waits for an answer makes no other call wait.
    auto own = OpenStore(world, false);
    GROVE_RETURN_IF_ERROR(AwaitAll(*state->store, world));
    state->watch = std::make_unique<Watch>(world, std::move(own), std::move(on_lost));
  } catch (const std::exception& error) {
    return CannotMeet(world, server && !state->store, error.what());
  }
  return std::unique_ptr<MeetingPoint>(new MeetingPoint(std::move(state)));
}

MeetingPoint::MeetingPoint(std::unique_ptr<State> state) : state_(std::move(state)) {}

MeetingPoint::~MeetingPoint() {
  State& state = *state_;
  const bool server = state.world.rank == 0;
  const bool lost = state.failed || state.watch->lost().has_value();
  // The store must live until the others have read the verdict, or have left in peace.
  if (server && lost) Sleep(3 * Watch::kBeatSeconds);
  state.watch.reset();
  if (lost) return;
  try {
    const double deadline = NowSeconds() + 10;
    int64_t left = state.store->add("left", 1);
    while (server && left < state.world.size && NowSeconds() < deadline) {
      Sleep(0.01);
      left = state.store->add("left", 0);
    }
  } catch (const std::exception&) {  // gone already: nobody is left to be told
  }
}

const World& MeetingPoint::world() const { return state_->world; }
c10::intrusive_ptr<c10d::Store> MeetingPoint::store() { return state_->store; }

Status MeetingPoint::Agree(const Status& mine) {
  State& state = *state_;
  const int64_t number = state.agreements++;
  const auto key = [&](int rank) { return fmt::format("agree/{}/{}", number, rank); };
  try {
    // "+": all is well; otherwise the code and the sentence.
    state.Write(key(state.world.rank),
                mine.ok() ? "+" : fmt::format("{}{}", static_cast<int>(mine.error().code()), mine.error().message()));
    for (int rank = 0; rank < state.world.size; ++rank) {
      if (!state.Await(key(rank))) return mine.ok() ? Status(state.LostError()) : mine;
      const std::string text = state.Read(key(rank));
      if (text == "+") continue;
      state.failed = true;
      if (!mine.ok()) return mine;  // each says its own
      return Error(static_cast<ErrorCode>(text[0] - '0'), fmt::format("rank {} failed: {}", rank, text.substr(1)));
    }
  } catch (const std::exception& error) {
    return Error(ErrorCode::kIo, Explain(error.what()));
  }
  return Ok{};
}

Result<std::string> MeetingPoint::FromFirst(const std::string& text) {
  State& state = *state_;
  const int64_t number = state.texts++;
  const auto key = [](int64_t n) { return fmt::format("text/{}", n); };
  try {
    if (state.world.rank == 0) {
      state.Write(key(number), text);
      if (number >= kKeysKept) state.store->deleteKey(key(number - kKeysKept));
      return text;
    }
    if (!state.Await(key(number))) return state.LostError();
    return state.Read(key(number));
  } catch (const std::exception& error) {
    return Error(ErrorCode::kIo, Explain(error.what()));
  }
}

void MeetingPoint::AskToStop() { state_->watch->AskToStop(); }
bool MeetingPoint::StopAsked() const { return state_->watch->StopAsked(); }
std::string MeetingPoint::Explain(const std::string& what) {
  const auto verdict = state_->watch->Explain();
  if (verdict) state_->failed = true;
  return verdict.value_or(FirstLine(what));
}
void MeetingPoint::EndWith(const std::string& message) {
  if (std::exchange(state_->failed, true)) return;  // all know it
  state_->watch->EndWith(message);
}

}  // namespace grove::train
