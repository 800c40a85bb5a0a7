// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Event files are read back here by a reader of the formats' few lines; tests/train_cli_test.py reads them in Python,
// and with TensorBoard where it is installed.
#include "grove/train/event_file.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "grove/io/files.h"
#include "grove/train/run_log.h"
#include "tests/temporary_folder.h"

namespace grove::train {
namespace {

template <class T>
T RawAt(std::string_view bytes, size_t at) {
  T value;
  EXPECT_LE(at + sizeof(T), bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

uint32_t Unmasked(uint32_t masked) { return std::rotl(masked - 0xa282ead8u, 15); }

std::vector<std::string> Records(const std::string& path) {
  const std::string bytes = ReadTextFile(path).value();
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size();) {
    const auto length = RawAt<uint64_t>(bytes, at);
    EXPECT_EQ(Unmasked(RawAt<uint32_t>(bytes, at + 8)), Crc32c(std::string_view(bytes).substr(at, 8)));
    records.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(Unmasked(RawAt<uint32_t>(bytes, at + 12 + length)), Crc32c(records.back()));
    at += 16 + length;
  }
  return records;
}

uint64_t Varint(std::string_view bytes, size_t* at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes[(*at)++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

// Field number -> values of a message: numbers as their bytes.
std::multimap<uint64_t, std::string> Fields(const std::string& message) {
  std::multimap<uint64_t, std::string> fields;
  for (size_t at = 0; at < message.size();) {
    const uint64_t key = Varint(message, &at);
    size_t size = key % 8 == 1 ? 8 : 4;
    if (key % 8 == 2) size = Varint(message, &at);
    if (key % 8 == 0) {
      fields.emplace(key / 8, std::to_string(Varint(message, &at)));
      continue;
    }
    fields.emplace(key / 8, message.substr(at, size));
    at += size;
  }
  return fields;
}

std::string One(const std::multimap<uint64_t, std::string>& fields, uint64_t number) {
  EXPECT_EQ(fields.count(number), 1u) << number;
  return fields.count(number) > 0 ? fields.find(number)->second : std::string(8, '\0');
}

// "step tag value" of every scalar of the file.
std::vector<std::string> Scalars(const std::string& path) {
  std::vector<std::string> scalars;
  const std::vector<std::string> records = Records(path);
  EXPECT_EQ(One(Fields(records.at(0)), 3), "brain.Event:2");
  for (size_t i = 1; i < records.size(); ++i) {
    const auto event = Fields(records[i]);
    const auto summary = Fields(One(event, 5));
    for (auto [at, end] = summary.equal_range(1); at != end; ++at) {
      const auto value = Fields(at->second);
      if (!value.contains(2)) continue;
      scalars.push_back(One(event, 2) + " " + One(value, 1) + " " + std::to_string(RawAt<float>(One(value, 2), 0)));
    }
  }
  return scalars;
}

TEST(Crc32c, HasTheValuesOfRfc3720) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST(EventFile, HoldsScalarsAndHistograms) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() + "/events.out.tfevents.grove";
  {
    auto file = EventFile::Create(path);
    ASSERT_TRUE(file.ok()) << file.error().message();
    ASSERT_TRUE(file.value().Write({.wall_time = 12.5, .step = 300, .scalars = {{"train/loss", 2.5}}}).ok());
    Event event{.wall_time = 13, .step = 301};
    event.histograms.push_back({"tokens", {.limits = {0.5, 1.5}, .counts = {3, 4}, .max = 1, .sum = 4}});
    ASSERT_TRUE(file.value().Write(event).ok());
  }
  EXPECT_EQ(Scalars(path), std::vector<std::string>{"300 train/loss 2.500000"});
  const auto records = Records(path);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(RawAt<double>(One(Fields(records[1]), 1), 0), 12.5);
  const auto histogram = Fields(One(Fields(One(Fields(One(Fields(records[2]), 5)), 1)), 5));
  EXPECT_EQ(RawAt<double>(One(histogram, 3), 0), 7);
  EXPECT_EQ(RawAt<double>(One(histogram, 6), 8), 1.5);
  EXPECT_EQ(RawAt<double>(One(histogram, 7), 8), 4);
}

TEST(EventFile, AFolderThatIsNoneIsAnError) {
  EXPECT_FALSE(EventFile::Create("/dev/null/events").ok());
  EXPECT_FALSE(TensorBoard::Create("/dev/null/folder").ok());
}

// A resumed run's log is cut to its checkpoint, and the event file follows it.
TEST(RunLog, TensorBoardHasNoStepTwice) {
  using Json = nlohmann::ordered_json;
  const test::TemporaryFolder folder;
  const std::string path = folder.path() + "/log.jsonl", events = folder.path() + "/tensorboard";
  const auto step = [](int number, double loss) {
    return Json{{"event", "step"}, {"step", number}, {"loss", loss}, {"seconds", number}};
  };
  int64_t checkpoint = 0;
  {
    auto log = RunLog::Open(path, events);
    ASSERT_TRUE(log.ok() && log.value().CutTo(0).ok());
    ASSERT_TRUE(log.value().Write({{"event", "start"}, {"time", 1000}}).ok());
    ASSERT_TRUE(log.value().Write(step(1, 5)).ok());
    checkpoint = log.value().Sync().value();
    ASSERT_TRUE(log.value().Write(step(2, 4)).ok());
  }
  auto log = RunLog::Open(path, events);
  ASSERT_TRUE(log.ok() && log.value().CutTo(checkpoint).ok());
  ASSERT_TRUE(log.value().Write(step(2, 3)).ok());
  const Json routing = Json::parse(R"({"event": "routing", "step": 2, "seconds": 2, "layers": [{"layer": 1,
      "entropy": [0.5, 0.25], "dead": [0, 1, 2], "usage_entropy": [null, 0.5], "histogram": [3, 0, 5]}]})");
  ASSERT_TRUE(log.value().Write(routing).ok());
  ASSERT_TRUE(log.value().Write({{"event", "validation"}, {"step", 2}, {"loss", 3.5}, {"seconds", 2}}).ok());
  const std::string file = events + "/events.out.tfevents.grove";
  EXPECT_EQ(Scalars(file),
            (std::vector<std::string>{"1 train/loss 5.000000", "2 train/loss 3.000000",
                                      "2 routing/dead/layer1 3.000000", "2 routing/entropy/layer1 0.375000",
                                      "2 routing/usage_entropy/layer1 0.500000", "2 validation/loss 3.500000"}));
  EXPECT_EQ(RawAt<double>(One(Fields(Records(file)[1]), 1), 0), 1001);
}

}  // namespace
}  // namespace grove::train
