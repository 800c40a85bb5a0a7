// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "grove/train/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

namespace grove::train {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

template <class T>
void AppendRaw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Protocol Buffers' wire format. `field` numbers are those of event.proto, summary.proto and histogram.proto.
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(0x80 | (value & 0x7f)));
  out.push_back(static_cast<char>(value));
}

void AppendKey(std::string& out, uint32_t field, WireType type) { AppendVarint(out, field << 3 | type); }

void AppendDouble(std::string& out, uint32_t field, double value) {
  AppendKey(out, field, kFixed64);
  AppendRaw(out, value);
}

void AppendBytes(std::string& out, uint32_t field, std::string_view bytes) {
  AppendKey(out, field, kBytes);
  AppendVarint(out, bytes.size());
  out.append(bytes);
}

void AppendDoubles(std::string& out, uint32_t field, const std::vector<double>& values) {  // packed
  AppendBytes(out, field, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)});
}

std::string HistogramMessage(const Histogram& histogram) {
  std::string out;
  double number = 0;
  for (const double count : histogram.counts) number += count;
  AppendDouble(out, 1, histogram.min);
  AppendDouble(out, 2, histogram.max);
  AppendDouble(out, 3, number);
  AppendDouble(out, 4, histogram.sum);
  AppendDouble(out, 5, histogram.sum_squares);
  AppendDoubles(out, 6, histogram.limits);
  AppendDoubles(out, 7, histogram.counts);
  return out;
}

std::string SummaryMessage(const Event& event) {
  std::string out;
  for (const Event::Scalar& scalar : event.scalars) {
    std::string value;
    AppendBytes(value, 1, scalar.tag);
    AppendKey(value, 2, kFixed32);
    AppendRaw(value, static_cast<float>(scalar.value));
    AppendBytes(out, 1, value);
  }
  for (const Event::TaggedHistogram& tagged : event.histograms) {
    std::string value;
    AppendBytes(value, 1, tagged.tag);
    AppendBytes(value, 5, HistogramMessage(tagged.histogram));
    AppendBytes(out, 1, value);
  }
  return out;
}

// TFRecord stores checksums rotated and shifted, so that a checksum over data that holds checksums stays useful.
uint32_t Masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

std::array<uint32_t, 256> CrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
    table[i] = crc;
  }
  return table;
}

}  // namespace

uint32_t Crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = CrcTable();
  uint32_t crc = ~0u;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<uint8_t>(byte)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

Result<EventFile> EventFile::Create(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return Error(ErrorCode::kIo, "cannot open " + path + ": " + std::strerror(errno));
  EventFile file(fd, path);
  std::string version;
  AppendDouble(version, 1, 0);
  AppendBytes(version, 3, "brain.Event:2");
  GROVE_RETURN_IF_ERROR(file.WriteRecord(version));
  return file;
}

EventFile::EventFile(EventFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

EventFile::~EventFile() {
  if (fd_ >= 0) close(fd_);
}

Status EventFile::Write(const Event& event) {
  std::string payload;
  AppendDouble(payload, 1, event.wall_time);
  AppendKey(payload, 2, kVarint);
  AppendVarint(payload, static_cast<uint64_t>(event.step));
  AppendBytes(payload, 5, SummaryMessage(event));
  return WriteRecord(payload);
}

Status EventFile::WriteRecord(const std::string& payload) {
  std::string record;
  AppendRaw(record, static_cast<uint64_t>(payload.size()));
  AppendRaw(record, Masked(Crc32c(record)));
  record += payload;
  AppendRaw(record, Masked(Crc32c(payload)));
  for (size_t done = 0; done < record.size();) {
    const ssize_t written = write(fd_, record.data() + done, record.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error(ErrorCode::kIo, "cannot write to " + path_ + ": " + std::strerror(errno));
    done += static_cast<size_t>(written);
  }
  return Ok{};
}

}  // namespace grove::train
